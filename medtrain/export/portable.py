"""What a task hands over for an export: a network with all that operators can hold, and what has to stand beside it.

A task is exported once its `Task.portable` returns a `Portable`:

- its `parts` map tensors to named tensors, and end in what the run decides (probabilities, decision), by the target's
  own operators (`probabilities_of`, `decision_of`), which tracers follow: no numpy, no `len` or `int` of a tensor;
- its `program` names a file in `medtrain/export/runtime`, whose ``main(network, folder, argv)`` reads inputs, runs
  ``started.networks[NAME](**arrays)`` and writes what `predict` writes. It may import what of medtrain needs neither
  torch nor pandas: predict.py is bundled of the very functions that it reaches (`medtrain.export.bundle`);
- its `compare` judges two files that predict.py and `predict` wrote; `medtrain.export.parity` has that of tables of
  classes, `medtrain.export.parity_boxes` that of boxes.

What else the program has to know goes into `facts`, with its words in model.schema.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medtrain.export.parity import Compare
from medtrain.target import Decision


@dataclass(frozen=True)
class ExportRequest:
    """What is exported of a task.

    Args:
        decision: the run's.
        data: the data node of the run's configuration.
        half: with weights and activations of 16 bits.
        encoder: of a run on features of a frozen one.
    """

    decision: Decision
    data: Mapping[str, Any]
    half: bool = False
    encoder: nn.Module | None = None


@dataclass(frozen=True)
class Part:
    """A network of an export.

    Args:
        network: from its inputs to a tuple of its outputs.
        inputs: an example of each, by name, of two cases (or instances).
        batch: the axes of each input that count these, with a name each.
        outputs: what each is, by name.
        free: further axes that may have any length, if the network can; each is fixed where it can't.
    """

    network: nn.Module
    inputs: Mapping[str, Tensor]
    batch: Mapping[str, Mapping[int, str]]
    outputs: Mapping[str, str]
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Portable:
    """A task's export, before it has a format.

    Args:
        parts: its networks, by the names of their files; the first is the run's.
        program: the file of `medtrain.export.runtime` whose `main` becomes predict.py.
        reads, writes: what predict.py takes and gives, in words.
        suffix: of the file that it writes.
        strange: makes files of odd sizes out of a real one, and one that can't be read, in a folder, for the proof.
        keep: writes a case whose source has no file of it: (content, path without suffix) -> the path written.
        compare: judges what predict.py has written against what the run predicts.
        facts: what else belongs into model.json.
        watch: readies the run's own task for the proof.
    """

    parts: Mapping[str, Part]
    program: str
    reads: str
    writes: str
    suffix: str
    strange: Callable[[Path, Path], None]
    keep: Callable[[Any, Path], Path]
    compare: Compare
    facts: Mapping[str, Any] = field(default_factory=dict)
    watch: Callable[[Any], None] = lambda task: None

"""A network traced by torch.export, its free axes named; where that can't be, the reason with the operator."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from medtrain.core.errors import MedtrainError
from medtrain.export.portable import Part

_OPERATOR = re.compile(r"\b(?:aten|torchvision|prims|torch\.ops\.\w+)(?:\.|::)\w+(?:\.\w+)?")


@dataclass(frozen=True)
class Traced:
    """A program.

    Args:
        shapes: of each input, by name: a length, or the name of an axis that may have any.
    """

    program: ExportedProgram
    shapes: dict[str, list[int | str]]


def trace(part: Part) -> Traced:
    """Trace a network, with all axes free that it can have so.

    Raises:
        MedtrainError: it can't be traced, with the operator that stands in the way.
    """
    named: dict[str, Any] = {}
    dims = tuple(
        {axis: named.setdefault(name, Dim(name)) for axis, name in part.batch[key].items()}
        | dict.fromkeys(part.free.get(key, {}), Dim.AUTO)
        for key in part.inputs
    )
    try:
        with torch.no_grad(), quiet():
            inputs = tuple(part.inputs.values())
            program = torch.export.export(part.network.eval(), inputs, dynamic_shapes=dims, strict=False)
    except Exception as error:
        raise MedtrainError(f"the network can't be traced: {why(error)}") from error
    return Traced(program, _shapes(part, program))


def why(error: BaseException) -> str:
    """Say in a line why a network can't be traced or converted: the operator, and the tracer's own first words."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    texts = [str(link) for link in chain]
    operators = [match[0].replace("::", ".") for text in texts for match in [_OPERATOR.search(text)] if match]
    first = next((line.strip() for text in reversed(texts) for line in text.splitlines() if line.strip()), "")
    named = f"operator {operators[-1]}" if operators else f"at `{_line_of(error)}`"
    return f"{named}: {type(chain[-1]).__name__}: {first[:200]}"


def _line_of(error: BaseException) -> str:
    """Find the line of the network's own code that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}torch{os.sep}" not in frame.filename]
    return f"{own[-1].line} ({os.path.basename(own[-1].filename)}:{own[-1].lineno})"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's own progress and remarks from the terminal; its faults are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)


def _shapes(part: Part, program: ExportedProgram) -> dict[str, list[int | str]]:
    """Name the axes of the inputs that the program has left free."""
    names = program.graph_signature.user_inputs
    traced = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.name in names}
    shapes = {}
    for (key, example), name in zip(part.inputs.items(), names, strict=True):
        axes = {**part.batch[key], **part.free.get(key, {})}
        free = [not isinstance(length, int) for length in traced[str(name)]]
        shapes[key] = [axes[axis] if free[axis] else length for axis, length in enumerate(example.shape)]
    return shapes

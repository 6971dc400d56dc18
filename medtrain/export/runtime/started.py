"""The command line of predict.py, and the model.json beside it."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from medtrain.core.errors import MedtrainError

Listed = TypeVar("Listed")
Predict = Callable[..., Any]  # a network: arrays by the names of inputs -> arrays by the names of outputs


class Facts(dict[str, Any]):
    """A map of model.json, of which what lacks is named."""

    def __missing__(self, key: str) -> Any:
        raise MedtrainError(f"model.json lacks '{key}', beside {', '.join(self) or 'nothing'}: damaged; export again")


@dataclass(frozen=True)
class Started:
    """What predict.py was started with.

    Args:
        input: a file, a folder or a table of cases.
        output: the file to be written.
        facts: model.json.
        networks: the exported networks, by name.
        batch_size: cases at a time.
    """

    input: Path
    output: Path
    facts: dict[str, Any]
    networks: dict[str, Predict]
    batch_size: int


def start(network: Any, folder: Path, argv: Sequence[str] | None = None) -> Started:
    """Read the command line and the folder of the export.

    Args:
        network: the class of the exported network.
        folder: of the export.
        argv: words of the command line; by default the program's own.
    """
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"), object_hook=Facts)
    parser = argparse.ArgumentParser(description=f"Predict {facts['reads']} by {facts['run']} of medtrain.")
    parser.add_argument("input", type=Path, help=f"one of {facts['reads']}, a folder of them, or a CSV of their paths")
    parser.add_argument("output", type=Path, help=f"the file to be written: {facts['writes']}")
    parser.add_argument("--batch-size", type=int, default=facts["batch_size"], help="cases at a time")
    parser.add_argument("--provider", help="what runs the network, such as CUDAExecutionProvider or cuda")
    given = parser.parse_args(argv)
    if given.batch_size < 1:
        parser.error(f"--batch-size {given.batch_size}: at least one case at a time")
    if not given.input.exists():
        parser.error(f"{given.input}: no such file or folder")
    if given.output.is_dir():
        parser.error(f"{given.output} is a folder; name a file in it")
    networks = {name: _opened(network, folder, own, given.provider) for name, own in facts["networks"].items()}
    return Started(given.input, given.output, facts, networks, given.batch_size)


def _opened(network: Any, folder: Path, facts: dict[str, Any], provider: str | None) -> Predict:
    """Open an exported network.

    Raises:
        MedtrainError: its file is not there, or not the one that was exported.
    """
    if "sha256" in facts:  # earlier versions wrote none
        file = folder / facts["file"]
        if not file.is_file() or facts["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
            raise MedtrainError(f"{file}: gone, or not the file that was exported; put it back, or export again")
    predict: Predict = network(folder, facts, provider)
    return predict


def begin(
    network: Any, folder: Path, argv: Sequence[str] | None, list_of: Callable[[Started], Listed]
) -> tuple[Started, Listed] | None:
    """Start, and list what is given; None where that can't be done, which is told.

    Args:
        network, folder, argv: as `start` takes them.
        list_of: lists the cases.
    """
    try:
        started = start(network, folder, argv)
        return started, list_of(started)
    except MedtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return None

"""A file of torch.export: needs torch where it runs, but neither medtrain nor the network's own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medtrain.core.errors import UsageError
from medtrain.export.portable import Part
from medtrain.export.traced import trace

SUFFIX = ".pt2"
WITH = ("torchvision",)  # packages whose operators torch knows once they are imported


def check(opset: int | None) -> None:
    """Refuse an opset, which this format has none of (UsageError)."""
    if opset is not None:
        raise UsageError(f"export.opset={opset}: torch_export has no opsets; leave it out")


def write(part: Part, file: Path, opset: int | None, identity: Mapping[str, str]) -> dict[str, Any]:
    """Write a network; returns what model.json says of it.

    Raises:
        MedtrainError: it can't be traced, with the operator in the way.
    """
    traced = trace(part)
    for node in traced.program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names paths of this machine
    extra_files = {f"medtrain.{key}": value for key, value in identity.items()}
    torch.export.save(traced.program, file, extra_files=extra_files)
    return {
        "file": file.name,
        "needs": sorted({space for node in traced.program.graph.nodes if (space := _space(node.target)) in WITH}),
        "inputs": [
            {"name": name, "dtype": str(example.dtype).removeprefix("torch."), "shape": traced.shapes[name]}
            for name, example in part.inputs.items()
        ],
        "outputs": [{"name": name, "is": words} for name, words in part.outputs.items()],
    }


def _space(target: Any) -> str:
    """Name the library of an operator; '' of what is none."""
    return str(getattr(target, "namespace", ""))

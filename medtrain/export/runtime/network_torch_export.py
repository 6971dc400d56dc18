"""The network of a file of torch.export, run by torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray


class Network:
    """An exported program with its named outputs.

    Args:
        folder: of the export.
        facts: what model.json says of it.
        provider: the device that carries it out, such as cuda.

    Attributes:
        carries_code: a file of it may hold pickled objects, which torch runs as it loads them.
    """

    carries_code = True

    def __init__(self, folder: Path, facts: Mapping[str, Any], provider: str | None = None) -> None:
        for package in facts["needs"]:  # brings operators
            importlib.import_module(package)
        self._device = torch.device(provider or "cpu")
        self._program = torch.export.load(str(folder / facts["file"])).module().to(self._device)
        self._inputs = [entry["name"] for entry in facts["inputs"]]
        self._outputs = [entry["name"] for entry in facts["outputs"]]

    def __call__(self, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one batch, its inputs by their names; others are for networks that see more."""
        tensors = [torch.from_numpy(inputs[name]).to(self._device) for name in self._inputs]
        with torch.no_grad():
            values = self._program(*tensors)
        return {name: value.cpu().numpy() for name, value in zip(self._outputs, values, strict=True)}

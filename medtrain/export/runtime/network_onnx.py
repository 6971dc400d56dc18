"""The network of an ONNX file, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class Network:
    """A graph with its named outputs.

    Args:
        folder: of the export.
        facts: what model.json says of it.
        provider: of ONNX Runtime that carries it out, such as CUDAExecutionProvider.

    Attributes:
        carries_code: a file of it may hold more than operators of a graph.
    """

    carries_code = False

    def __init__(self, folder: Path, facts: Mapping[str, Any], provider: str | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        providers = [provider or "CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(folder / facts["file"]), options, providers=providers)
        self._inputs = [entry["name"] for entry in facts["inputs"]]
        self._outputs = [output["name"] for output in facts["outputs"]]

    def __call__(self, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one batch, its inputs by their names; others are for networks that see more."""
        values = self._session.run(self._outputs, {name: inputs[name] for name in self._inputs})
        return {name: np.asarray(value) for name, value in zip(self._outputs, values, strict=True)}

"""An ONNX file: checked, with the shapes of all that flows in it, and with what it is written into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.extras import extra
from medtrain.export.portable import Part
from medtrain.export.traced import quiet, trace, why

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSETS = (18, 23)  # what torch writes, and what the runtime of today reads


def check(opset: int | None) -> None:
    """Refuse what can't be written, before anything is traced.

    Raises:
        UsageError: a package lacks, or there is no such opset.
    """
    for package in PACKAGES:
        extra(package, "format=onnx")
    if opset is not None and not OPSETS[0] <= opset <= OPSETS[1]:
        raise UsageError(f"export.opset={opset}: from {OPSETS[0]} to {OPSETS[1]}")


def write(part: Part, file: Path, opset: int | None, identity: Mapping[str, str]) -> dict[str, Any]:
    """Write a network; returns what model.json says of it.

    Raises:
        MedtrainError: it can't be traced or converted, with the operator in the way.
    """
    import onnx

    traced = trace(part)
    try:
        with quiet():
            program = torch.onnx.export(
                traced.program,
                (),
                dynamo=True,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
                opset_version=opset or OPSETS[0],
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise MedtrainError(f"the network can't be written as ONNX: {why(error)}") from error
    assert program is not None
    model = _bare(program.model_proto)
    for key, value in identity.items():
        model.metadata_props.add(key=f"medtrain.{key}", value=value)
    model.producer_name, model.producer_version = "medtrain", identity["version"]
    onnx.checker.check_model(model, full_check=True)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.save_model(model, file)
    return {
        "file": file.name,
        "opset": next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        "inputs": [
            {"name": name, "dtype": str(example.dtype).removeprefix("torch."), "shape": traced.shapes[name]}
            for name, example in part.inputs.items()
        ],
        "outputs": [{"name": name, "is": words} for name, words in part.outputs.items()],
    }


def _bare(model: Any) -> Any:
    """Take out what the tracer noted of the source: it names paths of this machine."""
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
    for function in model.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    model.ClearField("metadata_props")
    return model

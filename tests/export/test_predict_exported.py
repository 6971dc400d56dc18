"""predict with an export as run=: what is refused before anything of the folder is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.command.predict_exported import main
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.export.runtime.started import Facts

NETWORK = {"file": "model.onnx", "inputs": [], "outputs": [], "sha256": "0" * 64}
WHOLE: dict[str, Any] = {
    "format": "onnx", "program": "images", "medtrain": "0.3", "run": "r", "task": "t", "checkpoint_sha256": "0" * 64,
    "reads": "an image", "writes": "a CSV", "precision": "fp32", "networks": {"model": NETWORK}, "rows": {},
    "target": {"label_kind": "binary", "classes": ["a", "b"]}, "batch_size": 1,
    "decision": {"policy": 0.5, "temperature": 1.0, "thresholds": {"b": 0.5}},
}  # fmt: skip


def export(folder: Path, **facts: Any) -> dict[str, str]:
    (folder / "model.json").write_text(json.dumps({"format": "torch_export", "program": "images"} | facts))
    (folder / "predict.py").write_text("raise SystemExit('run')")
    return {"run": str(folder), "input": str(folder), "output": str(folder / "out.csv")}


def test_a_file_that_may_carry_code_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"may carry code.*if it is yours: python .*predict\.py"):
        main(export(tmp_path))


@pytest.mark.parametrize("facts", [{"format": "../x"}, {"program": "os"}, {"format": "pickle"}])
def test_what_medtrain_has_not_is_refused(tmp_path: Path, facts: dict[str, str]) -> None:
    with pytest.raises(MedtrainError, match="is none that this medtrain knows"):
        main(export(tmp_path, **facts))


def test_keys_of_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an export takes input, output, data.batch_size"):
        main(export(tmp_path) | {"data.window": "[0,1]"})


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"decision": {"policy": 0.5, "temperature": 1.0}}, "decision: 'thresholds' is a required property"),
        ({"batch_size": "x"}, "batch_size: 'x' is not of type 'integer'"),
        ({"networks": []}, r"networks: \[\] is not of type 'object'"),
        ({"networks": {"model": NETWORK | {"file": 5}}}, "networks.model.file: 5 is not of type 'string'"),
    ],
)
def test_a_damaged_model_json(tmp_path: Path, changed: dict[str, Any], text: str) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(MedtrainError, match=text):
        main(export(tmp_path, **WHOLE | changed))


def test_a_network_that_is_not_the_exported_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    for content in (None, b"", b"cut off"):
        if content is not None:
            (tmp_path / "model.onnx").write_bytes(content)
        assert main(export(tmp_path, **WHOLE)) != 0
        assert "model.onnx: gone, or not the file that was exported" in capsys.readouterr().err


def test_what_lacks_in_model_json_is_named() -> None:
    with pytest.raises(MedtrainError, match="model.json lacks 'size', beside fit: damaged"):
        Facts(fit="pad")["size"]

"""predict with an export as run=: what is refused before anything of the folder is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medtrain.command.predict_exported import main
from medtrain.core.errors import MedtrainError, UsageError


def export(folder: Path, **facts: str) -> dict[str, str]:
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

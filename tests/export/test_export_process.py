"""The process of the proof: what it may import."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.export.proof import run_alone

PROGRAM = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:
        print(name, file=sys.stderr)
"""


def test_packages_of_another_folder_are_there_and_medtrain_and_torch_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "predict.py").write_text(PROGRAM)
    module = tmp_path / "module_of_a_cluster"
    module.mkdir()
    (module / "only_by_pythonpath.py").write_text("")
    names = ["only_by_pythonpath", "numpy", "medtrain", "torch"]
    assert run_alone(tmp_path, ["numpy==1"], *names).err.split() == ["only_by_pythonpath", "medtrain", "torch"]
    monkeypatch.syspath_prepend(str(module))
    assert run_alone(tmp_path, ["numpy==1"], *names).err.split() == ["medtrain", "torch"]

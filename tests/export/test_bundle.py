"""One file of several modules: complete, in order, and of nothing that is not needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from medtrain.export import runtime
from medtrain.export.bundle import bundle
from medtrain.export.folder import names_in, program
from medtrain.export.proof import run_alone

TITLE = {"medtrain": "0", "run": "r", "format": "onnx"}
PROGRAMS = [name for name in names_in(runtime) if "def main(" in (Path(runtime.__path__[0]) / f"{name}.py").read_text()]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_a_program_is_whole_and_has_no_undefined_name(name: str, form: str, tmp_path: Path) -> None:
    made = program(TITLE | {"program": name, "format": form})
    file = tmp_path / "predict.py"
    file.write_text(made.text)
    words = ["ruff", "check", "--isolated", "--select", "F,E9", "--no-cache", str(file)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    imported = {node.module for node in ast.walk(ast.parse(made.text)) if isinstance(node, ast.ImportFrom)}
    assert not [module for module in imported if str(module).startswith("medtrain")]
    assert ("torch" in made.packages) == (form == "torch_export")
    assert not {"scipy", "pandas", "sklearn"} & set(made.packages)


def test_it_names_the_installed_versions_of_what_it_needs() -> None:
    lines = program(TITLE | {"program": "images"}).requirements()
    names = [line.partition("==")[0] for line in lines]
    assert names == ["numpy", "onnxruntime", "pillow", "pydicom", "python-gdcm"]
    assert all(line.partition("==")[2] for line in lines)


def test_two_names_that_are_one_are_refused() -> None:
    with pytest.raises(ValueError, match="both define _rows: rename one"):
        bundle("t", "medtrain.data.rows.columns", ["_rows", "medtrain.export.runtime.inputs:_rows"], "")


def test_the_process_of_the_proof_can_import_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("import sys, numpy\n__import__(sys.argv[1])\n")
    assert run_alone(tmp_path, ["numpy==1"], "json").code == 0
    for package in ("torch", "medtrain", "scipy"):
        ran = run_alone(tmp_path, ["numpy==1"], package)
        assert ran.code == 1
        assert f"No module named '{package}'" in ran.err

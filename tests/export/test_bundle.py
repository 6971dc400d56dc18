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
    unwanted = {"pandas", "sklearn"} | ({"scipy"} if name != "masks" else set())  # whose components scipy labels
    assert not unwanted & set(made.packages)


def test_it_names_the_installed_versions_of_what_it_needs() -> None:
    lines = program(TITLE | {"program": "images"}).requirements()
    names = [line.partition("==")[0] for line in lines]
    assert names == ["numpy", "onnxruntime", "pillow", "pydicom", "python-gdcm"]
    assert all(line.partition("==")[2] for line in lines)


def test_one_name_of_two_modules_means_two_things() -> None:
    wanted = ["_reason", "medtrain.io.nifti:SUFFIXES", "medtrain.io.itk:SUFFIXES", "medtrain.io.volume_source:FILES"]
    made = bundle("t", "medtrain.io.nifti", wanted, "pass")
    names: dict[str, object] = {"__name__": "made"}
    exec(made.text, names)
    assert names["SUFFIXES"] == (".nii", ".nii.gz")
    assert names["_itk_SUFFIXES"] == (".mha", ".nrrd")
    assert names["FILES"] == (".nii", ".nii.gz", ".mgh", ".mgz", ".mha", ".nrrd")  # by attributes of modules


def test_the_process_of_the_proof_can_import_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("import sys, numpy\n__import__(sys.argv[1])\n")
    assert run_alone(tmp_path, ["numpy==1"], "json").code == 0
    for package in ("torch", "medtrain", "scipy"):
        ran = run_alone(tmp_path, ["numpy==1"], package)
        assert ran.code == 1
        assert f"No module named '{package}'" in ran.err

"""The folder of an export: what lies in it, and how it is known as one."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module, resources
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from medtrain.core.errors import MedtrainError
from medtrain.core.extras import extra
from medtrain.export import runtime
from medtrain.export.bundle import Bundle, bundle
from medtrain.io.files import read_json_map, write_json, write_text

FACTS, PROGRAM, REQUIREMENTS, PARITY, CARD = (
    "model.json", "predict.py", "requirements.txt", "parity.json", "model_card.md",
)  # fmt: skip
SCHEMA = "model.schema.json"

_TITLE = """Predict by an exported model, without medtrain: python predict.py INPUT OUTPUT

Made by medtrain {version} of the run {run}. The functions below are medtrain's own, put together into one file
(Apache License 2.0); each part names the file that it is of. model.json beside it says what the model is.
"""
_DOCKERFILE = """FROM python:{python}-slim
WORKDIR /export
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" IMAGE /data/INPUT /data/OUTPUT
ENTRYPOINT ["python", "predict.py"]
"""


def names_in(package: ModuleType) -> list[str]:
    """List the files of a package."""
    return [module.name for module in iter_modules(package.__path__)]


def program(facts: Mapping[str, Any]) -> Bundle:
    """Make predict.py of a model.json: the task's `main`, and the class that runs networks of the format."""
    network, module = (f"{runtime.__name__}.{name}" for name in (f"network_{facts['format']}", facts["program"]))
    title = _TITLE.format(version=facts["medtrain"], run=facts["run"])
    end = "sys.exit(main(Network, Path(__file__).resolve().parent))"
    made = bundle(title, module, [f"{network}:Network", "main"], end)
    needs = {package for own in facts.get("networks", {}).values() for package in own.get("needs", ())}
    return replace(made, packages=tuple(sorted({*made.packages, *needs})))


def fill(folder: Path, made: Bundle, facts: Mapping[str, Any]) -> list[str]:
    """Write predict.py and what it needs beside the network; returns the lines of requirements.txt."""
    lines = made.requirements()
    write_json(folder / FACTS, facts)
    write_text(folder / SCHEMA, resources.files("medtrain.export").joinpath(SCHEMA).read_text(encoding="utf-8"))
    write_text(folder / PROGRAM, made.text)
    write_text(folder / REQUIREMENTS, "".join(f"{line}\n" for line in lines))
    write_text(folder / "Dockerfile", _DOCKERFILE.format(python=".".join(map(str, sys.version_info[:2]))))
    write_text(folder / ".dockerignore", "Dockerfile\nparity.json\n")
    return lines


@contextmanager
def staged(parent: Path) -> Iterator[Path]:
    """Make a folder beside the one that is wanted; what is still there when the block ends, goes."""
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".export_", dir=parent))
    try:
        temporary.chmod(0o755)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_export(folder: Path) -> bool:
    """Tell whether a folder is an export rather than a run."""
    return (folder / FACTS).is_file() and (folder / PROGRAM).is_file()


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the model.json of an export that may come from anywhere.

    Raises:
        MedtrainError: it can't be read, or names what medtrain has not.
    """
    facts = read_json_map(folder / FACTS)
    for key, there in (("format", f"network_{facts.get('format')}"), ("program", str(facts.get("program")))):
        if there not in names_in(runtime):
            raise MedtrainError(f"{folder / FACTS}: {key} {facts.get(key)!r} is none that this medtrain knows")
    return facts


def check_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Compare a model.json with the schema of such files (MedtrainError where it breaks it)."""
    schema = json.loads(resources.files("medtrain.export").joinpath(SCHEMA).read_text(encoding="utf-8"))
    validator = extra("jsonschema", f"run={folder}").Draft202012Validator(schema)
    if (error := next(iter(validator.iter_errors(facts)), None)) is not None:
        place = ".".join(str(part) for part in error.absolute_path) or "the whole"
        raise MedtrainError(f"{folder / FACTS}: {place}: {error.message[:200]}; damaged or changed: export again")


def network_of(form: str) -> Any:
    """Find the class that runs networks of a format."""
    return import_module(f"{runtime.__name__}.network_{form}").Network

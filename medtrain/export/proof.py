"""The proof that an export predicts as the run does: predict.py in a fresh process that can import nothing else.

The process may import Python's own modules and the packages that requirements.txt names, with what these need
themselves. So a package that is missing there, or medtrain or torch by a back door, is found here and not by the
person whom the folder is given to.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import medtrain
from medtrain.core.errors import MedtrainError
from medtrain.io.pseudonym import KEY, hash_key

SECONDS = 3600
_BLOCKED = """
import runpy, sys
blocked = set({blocked!r})
class Without:  # a finder that lacks what is blocked, as if it were not installed
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.path += [folder for folder in {folders!r} if folder not in sys.path]
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Ran:
    """A run of predict.py.

    Args:
        code: its exit code.
        seconds: it took, from its start to its end.
        err: what it said on stderr.
    """

    code: int
    seconds: float
    err: str


def run_alone(folder: Path, requirements: Iterable[str], *words: str) -> Ran:
    """Run predict.py of an export in a process that can import what it requires and nothing else.

    Args:
        requirements: the lines of requirements.txt.
        words: of its command line.

    Raises:
        MedtrainError: it ran past an hour.
    """
    names = [re.split(r"[=<>\[ ]", line)[0] for line in requirements]
    argv = [str(folder / "predict.py"), *words]
    code = _BLOCKED.format(blocked=sorted(_not_needed(names)), folders=import_folders(), argv=argv)
    environment = os.environ | {KEY: hash_key().decode()}  # so that patients of DICOM headers are called alike
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise MedtrainError(f"{folder.name}/predict.py did not end within {SECONDS} s") from None
    return Ran(done.returncode, time.perf_counter() - began, done.stderr)


def import_folders() -> list[str]:
    """List where this process finds packages, but for the folder that it was started in and that of medtrain alone.

    A process that is told nothing looks at its own environment, and not where PYTHONPATH says, as clusters have it.
    """
    packages = sysconfig.get_paths()
    own = {os.path.dirname(os.path.dirname(os.path.abspath(str(medtrain.__file__)))), os.getcwd()}
    own -= {packages["purelib"], packages["platlib"]}
    return [folder for folder in map(os.path.abspath, filter(None, sys.path)) if folder not in own]


def _not_needed(wanted: Iterable[str]) -> set[str]:
    """List the importable packages of this environment that the wanted distributions do not need; ours among them."""
    needed, waiting = set(), [_plain(name) for name in wanted]
    while waiting:
        if (name := waiting.pop()) in needed:
            continue
        needed.add(name)
        try:
            lines = [line for line in requires(name) or [] if "extra ==" not in line]
        except PackageNotFoundError:  # for another system, by a marker
            continue
        waiting += [_plain(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))]
    packages = packages_distributions()
    blocked = {name for name, owners in packages.items() if not needed & {_plain(owner) for owner in owners}}
    return {name for name in blocked if not name.startswith(("_", "."))} | {"medtrain"} | ({"torch"} - needed)


def _plain(name: str) -> str:
    """Write a distribution's name as all its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()

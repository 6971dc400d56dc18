"""Files that stay closed: those of the test split, while a search judges trials on validation.

The first run of a search decodes every file once, to know what it is: equal cases must not lie in two splits. From then
on the files of the test split are not opened, also where a trial wants all pictures at another size. What they are is
remembered here instead, and their pixels are not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.io.files import read_json, write_json

FILE = "closed.json"
CLOSED = "MEDTRAIN_CLOSED"  # in a trial: the file that lists them

_shut: dict[str, str] = {}  # hash of what a closed file holds, by its path
_cases: frozenset[str] | None = None  # of the test split that is closed
_seen: dict[str, str] | None = None  # the same of all files, where they are noted


def refusal(path: str) -> MedtrainError:
    """Make the error of a closed file that is wanted."""
    return MedtrainError(f"{path}: of the test split, which is closed while a search goes on")


@contextmanager
def closing() -> Iterator[None]:
    """Keep closed what `CLOSED` lists, if it is there; note what other files hold."""
    global _seen, _cases
    listed = os.environ.get(CLOSED)
    _seen = {}
    if listed and Path(listed).is_file():
        known = read_json(Path(listed))
        _shut.update(known["files"])
        _cases = frozenset(known["cases"])
    try:
        yield
    finally:
        _shut.clear()
        _seen = _cases = None


def note(paths: Sequence[str], hashes_N2: NDArray[np.uint64], known_N: NDArray[np.bool_]) -> None:
    """Note what files hold, where a run wants to know that."""
    if _seen is not None:
        for n in np.flatnonzero(known_N).tolist():
            _seen[paths[n]] = hashes_N2[n].astype("<u8").tobytes().hex()


def known_of(paths: Sequence[str]) -> NDArray[np.bool_]:
    """Tell of each file whether it is closed, and what it holds is known."""
    return np.array([bool(_shut.get(path)) for path in paths], bool) if _shut else np.zeros(len(paths), bool)


def refuse(path: str) -> None:
    """Refuse a closed file that is about to be opened (MedtrainError)."""
    if path in _shut:
        raise refusal(path)


def shut(path: str) -> str | None:
    """Give the hash of what a closed file holds, '' where that is unknown; None of an open one."""
    return _shut.get(path)


def settle(folder: Path, cases: Sequence[str], tested: Sequence[str], others: Sequence[str]) -> None:
    """Write what the test split is, for those who come later; or compare, where that is known already.

    Args:
        folder: of the run.
        cases: of the test split, by name.
        tested, others: files of the test split and of the others; what is in both, as a table of bags is, stays open.

    Raises:
        MedtrainError: another test split than that of the search.
    """
    if _cases is None:
        named = {os.path.abspath(path) for path in tested} - {os.path.abspath(path) for path in others}
        files = {path: (_seen or {}).get(path, "") for path in sorted(named)}
        write_json(folder / FILE, {"cases": sorted(cases), "files": files})
    elif odd := sorted(set(cases) ^ _cases):
        whose = "the search's" if odd[0] in _cases else "this trial's"
        raise MedtrainError(
            f"{odd[0]} is of {whose} test split alone: a search has one test split, so neither data.split_seed nor "
            "data.fold nor what data are used can be searched"
        )

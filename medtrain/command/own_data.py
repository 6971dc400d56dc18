"""A run's own data: are they still what the run was split, trained and tuned by?"""

from __future__ import annotations

from pathlib import Path

from medtrain.core.errors import DataError, Problem
from medtrain.data.base import Data
from medtrain.data.changes import changes, in_words, read_splits
from medtrain.io import record

PUT_BACK = "put the data back as they were"
TO_GO_ON = f"{PUT_BACK} and go on with resume={{run}}, or start anew (init_from={{run}} keeps its weights)"
TO_TEST = f"{PUT_BACK}; to test against other labels on purpose, give them as another table (data.table=COPY)"


def refuse_changed(run: Path, data: Data, advice: str) -> None:
    """Compare prepared data with what the run in the folder `run` has written of its own.

    Args:
        advice: what to do, with ``{run}`` for the folder.

    Raises:
        DataError: they have changed, with what of which cases.
    """
    if found := changed(run, data):
        raise DataError(f"the data have changed since {run} began: {in_words(found)}", found, advice.format(run=run))


def changed(run: Path, data: Data) -> list[Problem]:
    """List what is otherwise in prepared data than the run has written; nothing where it has written nothing."""
    file, fields = run / "splits.csv", record.read(run)
    if not file.is_file():
        return []
    found = changes(data, read_splits(file), (fields.get("fingerprints") or {}).get("table"))
    then = (fields.get("spec") or {}).get("classes")
    if then is not None and list(then) != list(data.spec.classes):
        detail = f"{', '.join(data.spec.classes)}, in the run {', '.join(then)}"
        found.append(Problem("classes_changed", "classes", detail))
    return found

"""Phantoms as sources: made on first use, then read like anyone's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from medtrain.core.errors import UsageError
from medtrain.core.progress import Progress
from medtrain.target import DataSpec
from medtrain.target.find import named_kind

Maker = Callable[[Mapping[str, Any], Progress | None], Path]
Drawn = TypeVar("Drawn")


def by_patient(draw: Callable[[int], Drawn], patients: int, progress: Progress | None) -> Iterator[Drawn]:
    """Draw patients side by side, and give what came of each in order.

    Args:
        draw: of a patient's number; numpy, PIL and encoders work outside the interpreter's lock.
        progress: called with (done, total) patients.
    """
    with ThreadPoolExecutor() as pool:
        for done, drawn in enumerate(pool.map(draw, range(patients)), start=1):
            yield drawn
            if progress is not None:
                progress(done, patients)


def made_table(
    cfg: Mapping[str, Any], make: Maker, real: str, spec: DataSpec | None, progress: Progress | None
) -> dict[str, Any]:
    """Point a data node to the table of a phantom that `make` gives the folder of, and to the columns of its target.

    Args:
        real: the source of tables of such cases that people have.
        spec: of a trained model, whose target is read.

    Raises:
        UsageError: the node names a table already.
    """
    if cfg.get("table") or cfg.get("root"):
        raise UsageError(f"data={cfg['name']} makes its own table; use data={real} for data.table and data.root")
    folder, kind = make(cfg, progress), named_kind(cfg.get("target"), None if spec is None else spec.target)
    if kind is None:
        return {**cfg, "table": str(folder / "table.csv")}
    given = {role: column for role, column in dict(cfg.get("columns") or {}).items() if column is not None}
    columns = {role: kind.kind if role == "label" else role for role in kind.roles} | given
    return {**cfg, "table": str(folder / "outcomes.csv"), "columns": columns}

"""Phantoms as sources: made on first use, then read like anyone's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.progress import Progress

Maker = Callable[[Mapping[str, Any], Progress | None], Path]


def made_table(cfg: Mapping[str, Any], make: Maker, real: str, progress: Progress | None) -> dict[str, Any]:
    """Point a data node to the table of a phantom that `make` gives the folder of.

    Args:
        real: the source of tables of such cases that people have.

    Raises:
        UsageError: the node names a table already.
    """
    if cfg.get("table") or cfg.get("root"):
        raise UsageError(f"data={cfg['name']} makes its own table; use data={real} for data.table and data.root")
    return {**cfg, "table": str(make(cfg, progress) / "table.csv")}

"""Whole slides listed in a CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.bags import with_slides
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.source import BAGS, ROOT, TABLE, Source
from medtrain.io.table import read_table
from medtrain.target import DataSpec


@Source(TABLE, ROOT, BAGS, batches="bags", takes=("encoder",))
def slide_table(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a slide; arguments as of `medtrain.data.source.reader`."""
    if not cfg.get("table"):
        raise UsageError("data.table is not set: give a CSV with a slide and a label column")
    return manifest_of(*with_slides(read_table(Path(str(cfg["table"])).expanduser()), cfg), spec)

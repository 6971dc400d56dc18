"""Whole slides listed in a CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.bags import with_slides
from medtrain.data.rows.clinical import read_rows
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.source import BAGS, ROOT, SLIDE_TABLE, TABLE, TISSUE, Source
from medtrain.target import DataSpec


@Source(TABLE, SLIDE_TABLE, ROOT, BAGS, TISSUE, batches="bags", takes=("encoder",))
def slide_table(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a slide; arguments as of `medtrain.data.source.reader`."""
    raw, node, warnings = read_rows(cfg, "give a CSV with a slide and a label column")
    manifest = manifest_of(*with_slides(raw, node), spec)
    manifest.warnings += warnings
    return manifest

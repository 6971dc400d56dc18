"""Images listed in a CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest, read_manifest
from medtrain.data.source import ROOT, TABLE, Source
from medtrain.target import DataSpec


@Source(TABLE, ROOT, batches="images")
def image_table(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    return read_manifest(cfg, spec)

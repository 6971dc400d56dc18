"""Images with boxes as Pascal VOC has them, below data.root, one folder or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.boxes import box_rows, roots_of
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import ROOT, Source
from medtrain.io.boxes import read_roots, read_voc
from medtrain.target import DataSpec


@Source(ROOT, batches="boxes")
def voc(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    return box_rows(read_roots(roots_of(cfg), read_voc), cfg, spec)

"""Images with boxes as COCO has them: JSON files below data.root, or data.annotations, with pictures in data.images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.boxes import box_rows, root_of
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import ANNOTATIONS, IMAGES, ROOT, Source, below
from medtrain.io.boxes import read_coco
from medtrain.target import DataSpec


@Source(ROOT, ANNOTATIONS, IMAGES, batches="boxes")
def coco(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    root, named, images = root_of(cfg), cfg.get("annotations"), cfg.get("images")
    files = [below(root, name) for name in ([named] if isinstance(named, str) else named or [])]
    return box_rows(read_coco(root, files, below(root, images) if images else None), cfg, spec)

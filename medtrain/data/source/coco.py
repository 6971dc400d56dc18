"""Images with boxes as COCO has them: JSON files below data.root, or data.annotations, with pictures in data.images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.boxes import box_rows, roots_of
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import ANNOTATIONS, IMAGES, ROOT, Source, below
from medtrain.io.boxes import Annotations, read_coco, read_roots
from medtrain.target import DataSpec


@Source(ROOT, ANNOTATIONS, IMAGES, batches="boxes")
def coco(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    roots, named, images = roots_of(cfg, "annotations", "images"), cfg.get("annotations"), cfg.get("images")

    def read(root: Path) -> Annotations:
        files = [below(root, name) for name in ([named] if isinstance(named, str) else named or [])]
        return read_coco(root, files, below(root, images) if images else None)

    return box_rows(read_roots(roots, read), cfg, spec)

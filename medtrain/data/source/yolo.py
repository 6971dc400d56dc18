"""Images with boxes as YOLO has them: data.yaml, images and labels below data.root; data.annotations names another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.boxes import box_rows, roots_of
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import ANNOTATIONS, ROOT, Source, below
from medtrain.io.boxes import read_roots, read_yolo
from medtrain.target import DataSpec


@Source(ROOT, ANNOTATIONS, batches="boxes")
def yolo(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    roots, named = roots_of(cfg, "annotations"), cfg.get("annotations")
    return box_rows(read_roots(roots, lambda root: read_yolo(root, below(root, named) if named else None)), cfg, spec)

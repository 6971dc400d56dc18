"""Chest films with nodules drawn from a seed, as COCO has them (keys patients, phantom_seed, image_size)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.progress import Progress
from medtrain.data.phantom.lesion import lesion_folder
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import Source
from medtrain.data.source.coco import coco
from medtrain.target import DataSpec


@Source(batches="boxes", synthetic=True)
def phantom_lesion(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a film; arguments as of `medtrain.data.source.reader`."""
    if cfg.get("root") or cfg.get("annotations"):
        raise UsageError("data=phantom_lesion makes its own files; use data=coco for data.root")
    return coco({**cfg, "root": str(lesion_folder(cfg, progress))}, spec, progress)

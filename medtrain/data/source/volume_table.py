"""Volumes listed in a CSV: NIfTI files, or folders of a DICOM series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest, read_manifest
from medtrain.data.rows.masks import read_masks
from medtrain.data.settings import learns_masks
from medtrain.data.source import ROOT, TABLE, Source
from medtrain.target import DataSpec


@Source(TABLE, ROOT, batches="volumes")
def volume_table(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a volume; arguments as of `medtrain.data.source.reader`."""
    return read_masks(cfg, spec) if learns_masks(cfg) else read_manifest(cfg, spec, folders=True)

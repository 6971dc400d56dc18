"""Sections of chest CTs drawn from a seed, in a table (keys patients, phantom_seed)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.phantom.made import made_table
from medtrain.data.phantom.volume import phantom_folder
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import learns_masks
from medtrain.data.source import Source
from medtrain.data.source.volume_table import volume_table
from medtrain.target import DataSpec


@Source(batches="volumes", synthetic=True)
def phantom_volume(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a section; arguments as of `medtrain.data.source.reader`."""
    named = {"classes": ["nodule"]} if learns_masks(cfg) and not cfg.get("classes") else {}
    return volume_table({**made_table(cfg, phantom_folder, "volume_table", spec, progress), **named}, spec, progress)

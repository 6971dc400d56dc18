"""Chest films drawn from a seed, in a table (keys patients, phantom_seed, image_size)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.phantom.made import made_table
from medtrain.data.phantom.xray import phantom_folder
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import Source
from medtrain.data.source.image_table import image_table
from medtrain.target import DataSpec


@Source(batches="images", synthetic=True)
def phantom_xray(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a film; arguments as of `medtrain.data.source.reader`."""
    return image_table(made_table(cfg, phantom_folder, "image_table", spec, progress), spec, progress)

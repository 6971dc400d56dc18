"""Slides drawn from a seed, in a table (keys patients, phantom_seed, slide_px)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.progress import Progress
from medtrain.data.phantom.made import made_table
from medtrain.data.phantom.slide import phantom_slides
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import BAGS, TISSUE, Source
from medtrain.data.source.slide_table import slide_table
from medtrain.target import DataSpec


@Source(BAGS, TISSUE, batches="bags", takes=("encoder",), synthetic=True)
def phantom_slide(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a slide; arguments as of `medtrain.data.source.reader`."""
    return slide_table(made_table(cfg, phantom_slides, "slide_table", spec, progress), spec, progress)

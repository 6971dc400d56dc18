"""Phantoms as data modules: made on first use, then read like anyone's table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.phantom.slide import phantom_slides
from medtrain.data.phantom.xray import phantom_folder
from medtrain.data.slide.slides import SlideData
from medtrain.data.table.manifest import Manifest
from medtrain.data.xray.module import ImageData


class PhantomXray(ImageData):
    """`ImageData` on the phantom of `cfg` (keys patients, phantom_seed, image_size); nothing in it is real."""

    synthetic = True

    def __init__(self, cfg: Mapping[str, Any], **options: Any) -> None:
        if cfg.get("table") or cfg.get("root"):
            raise UsageError("data=phantom_xray makes its own table; use data=image_table for data.table and data.root")
        super().__init__(cfg, **options)

    def manifest(self) -> Manifest:
        self.cfg["table"] = str(phantom_folder(self.cfg, self.progress) / "table.csv")
        return super().manifest()


class PhantomSlides(SlideData):
    """`SlideData` on the phantom of `cfg` (keys patients, phantom_seed, slide_px); nothing in it is real."""

    synthetic = True

    def __init__(self, cfg: Mapping[str, Any], **options: Any) -> None:
        if cfg.get("table") or cfg.get("root"):
            raise UsageError(
                "data=phantom_slide makes its own table; use data=slide_table for data.table and data.root"
            )
        super().__init__(cfg, **options)

    def table_file(self) -> Path:
        return phantom_slides(self.cfg, self.progress) / "table.csv"

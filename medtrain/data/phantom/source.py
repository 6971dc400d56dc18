"""Phantoms as data modules: made on first use, then read like anyone's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.boxes.sources import CocoData
from medtrain.data.phantom import slide, volume, xray
from medtrain.data.phantom.lesion import lesion_folder
from medtrain.data.slide.slides import SlideData
from medtrain.data.table.manifest import Manifest
from medtrain.data.table.module import TableData
from medtrain.data.volume.module import VolumeData
from medtrain.data.xray.module import ImageData
from medtrain.io.boxes import Annotations

TABLES = {"phantom_xray": "image_table", "phantom_volume": "volume_table", "phantom_slide": "slide_table"}


class Phantom(TableData):
    """The table of a phantom that `folder` makes; nothing in it is real."""

    synthetic = True
    folder: Callable[..., Path]

    def __init__(self, cfg: Mapping[str, Any], **options: Any) -> None:
        if cfg.get("table") or cfg.get("root"):
            name = cfg["name"]
            table = TABLES.get(name, name)
            raise UsageError(f"data={name} makes its own table; use data={table} for data.table and data.root")
        super().__init__(cfg, **options)

    def manifest(self) -> Manifest:
        self.cfg["table"] = str(type(self).folder(self.cfg, self.progress) / "table.csv")
        return super().manifest()


class PhantomXray(Phantom, ImageData):
    """`ImageData` on chest films (keys patients, phantom_seed, image_size)."""

    folder = staticmethod(xray.phantom_folder)


class PhantomVolume(Phantom, VolumeData):
    """`VolumeData` on sections of chest CTs (keys patients, phantom_seed)."""

    folder = staticmethod(volume.phantom_folder)


class PhantomSlides(Phantom, SlideData):
    """`SlideData` on slides (keys patients, phantom_seed, slide_px)."""

    folder = staticmethod(slide.phantom_slides)

    def table_file(self) -> Path:
        return type(self).folder(self.cfg, self.progress) / "table.csv"


class PhantomLesion(CocoData):
    """`CocoData` on chest films with nodules (keys patients, phantom_seed, image_size); nothing in it is real."""

    synthetic = True

    def __init__(self, cfg: Mapping[str, Any], **options: Any) -> None:
        if cfg.get("root") or cfg.get("annotations"):
            raise UsageError("data=phantom_lesion makes its own files; use data=coco for data.root")
        super().__init__(cfg, **options)

    def annotations(self) -> Annotations:
        self.cfg["root"] = str(lesion_folder(self.cfg, self.progress))
        return super().annotations()

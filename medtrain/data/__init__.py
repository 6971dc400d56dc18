"""Data modules: from the files that users have to batches. `source` gives the class behind `data.name`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from medtrain.core.errors import UsageError

SOURCES: dict[str, str] = {
    "box_table": "medtrain.data.boxes.sources:BoxTableData",
    "coco": "medtrain.data.boxes.sources:CocoData",
    "feature_bags": "medtrain.data.slide.module:BagData",
    "image_folder": "medtrain.data.xray.folder:FolderData",
    "image_table": "medtrain.data.xray.module:ImageData",
    "medmnist": "medtrain.data.xray.medmnist:MedMNISTData",
    "phantom_lesion": "medtrain.data.phantom.source:PhantomLesion",
    "phantom_slide": "medtrain.data.phantom.source:PhantomSlides",
    "phantom_volume": "medtrain.data.phantom.source:PhantomVolume",
    "phantom_xray": "medtrain.data.phantom.source:PhantomXray",
    "slide_table": "medtrain.data.slide.slides:SlideData",
    "voc": "medtrain.data.boxes.sources:VocData",
    "volume_table": "medtrain.data.volume.module:VolumeData",
    "yolo": "medtrain.data.boxes.sources:YoloData",
}


def source(name: str) -> Any:
    """The LightningDataModule class of `data.name`, imported now; UsageError with the names there are."""
    if name not in SOURCES:
        raise UsageError(f"data.name={name} is none of {', '.join(sorted(SOURCES))}")
    module, _, attribute = SOURCES[name].partition(":")
    return getattr(import_module(module), attribute)

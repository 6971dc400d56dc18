"""Data modules: from the files that users have to batches. `source` gives the class behind `data.name`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from medtrain.core.errors import UsageError

SOURCES: dict[str, str] = {
    "feature_bags": "medtrain.data.slide.module:BagData",
    "image_folder": "medtrain.data.xray.folder:FolderData",
    "image_table": "medtrain.data.xray.module:ImageData",
    "medmnist": "medtrain.data.xray.medmnist:MedMNISTData",
    "phantom_slide": "medtrain.data.phantom.source:PhantomSlides",
    "phantom_volume": "medtrain.data.phantom.source:PhantomVolume",
    "phantom_xray": "medtrain.data.phantom.source:PhantomXray",
    "slide_table": "medtrain.data.slide.slides:SlideData",
    "volume_table": "medtrain.data.volume.module:VolumeData",
}


def source(name: str) -> Any:
    """The LightningDataModule class of `data.name`, imported now; UsageError with the names there are."""
    if name not in SOURCES:
        raise UsageError(f"data.name={name} is none of {', '.join(sorted(SOURCES))}")
    module, _, attribute = SOURCES[name].partition(":")
    return getattr(import_module(module), attribute)

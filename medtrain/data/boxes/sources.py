"""The layouts that boxes come in, each a data module that says only where its annotations are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.boxes.module import BoxData
from medtrain.data.boxes.table import read_box_table
from medtrain.data.sources import below
from medtrain.io.boxes import Annotations, read_coco, read_voc, read_yolo


class CocoData(BoxData):
    """COCO's JSON below data.root, or data.annotations, with pictures in data.images."""

    def annotations(self) -> Annotations:
        root, named = root_of(self.cfg), self.cfg.get("annotations")
        files = [below(root, name) for name in ([named] if isinstance(named, str) else named or [])]
        images = self.cfg.get("images")
        return read_coco(root, files, below(root, images) if images else None)


class YoloData(BoxData):
    """YOLO's layout below data.root; data.annotations names another data.yaml."""

    def annotations(self) -> Annotations:
        root, named = root_of(self.cfg), self.cfg.get("annotations")
        return read_yolo(root, below(root, named) if named else None)


class VocData(BoxData):
    """Pascal VOC's layout below data.root."""

    def annotations(self) -> Annotations:
        return read_voc(root_of(self.cfg))


class BoxTableData(BoxData):
    """A CSV, data.table, with a row a box."""

    def annotations(self) -> Annotations:
        return read_box_table(self.cfg)


def root_of(cfg: Any) -> Path:
    """data.root, which must be there."""
    if not cfg.get("root"):
        raise UsageError(f"data.root is not set: give the folder of the {cfg.get('name')} data")
    root = Path(str(cfg["root"])).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={root}: no such folder")
    return root

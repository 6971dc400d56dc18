"""Readers of the usual files of boxes: COCO, YOLO, Pascal VOC. They read; what they say is judged later."""

from medtrain.io.boxes.annotations import Annotations
from medtrain.io.boxes.coco import read_coco
from medtrain.io.boxes.roots import read_roots
from medtrain.io.boxes.voc import read_voc
from medtrain.io.boxes.yolo import read_yolo

__all__ = ["Annotations", "read_coco", "read_roots", "read_voc", "read_yolo"]

"""Detection: boxes in images, tiled or whole."""

from medtrain.task.detection.module import Detection

__all__ = ["Detection"]

"""Multiple-instance learning: bags of instances (tiles of a slide) with one label a bag."""

from medtrain.task.mil.module import MultipleInstance

__all__ = ["MultipleInstance"]

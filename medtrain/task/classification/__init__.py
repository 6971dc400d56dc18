"""Classification of images and volumes, whole or from patches: binary, multiclass, multilabel."""

from medtrain.task.classification.module import Classification

__all__ = ["Classification"]

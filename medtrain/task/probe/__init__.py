"""Probes: classifiers of pictures and volumes that learn from what a frozen encoder makes of them."""

from medtrain.task.probe.module import Probe

__all__ = ["Probe"]

"""Explanations of predictions: maps, pictures of them, and a test whether a map depends on what was learned."""

from medtrain.explain.maps import attention, grad_cam
from medtrain.explain.occlusion import Covers
from medtrain.explain.picture import cell, half_area, overlay, peak
from medtrain.explain.sanity import LIMIT, sanity_check
from medtrain.explain.volumes import stitched, three_planes

__all__ = [
    "LIMIT",
    "Covers",
    "attention",
    "cell",
    "grad_cam",
    "half_area",
    "overlay",
    "peak",
    "sanity_check",
    "stitched",
    "three_planes",
]

"""What is wrong with data, all of it at once: what training would refuse, and what only a look would show."""

from medtrain.data.inspection.found import Finding, Inspection
from medtrain.data.inspection.measures import Measures, measure
from medtrain.data.inspection.odd import odd_pictures
from medtrain.data.inspection.table import Looked, look
from medtrain.data.inspection.twins import duplicates, near_duplicates

__all__ = [
    "Finding",
    "Inspection",
    "Looked",
    "Measures",
    "duplicates",
    "look",
    "measure",
    "near_duplicates",
    "odd_pictures",
]

"""What is predicted, a file a kind: `target_of` finds the class of a kind by its name.

DataSpec (what a model must know of its data) holds a target, Decision says how predictions are decided, Outcome is a
judged split.
"""

from __future__ import annotations

from medtrain.target.base import Form, Policy, Target
from medtrain.target.counts import LabelCounts
from medtrain.target.decision import Decision
from medtrain.target.find import kinds, named_kind, target_from, target_of, target_of_columns
from medtrain.target.outcome import Outcome, Predicted
from medtrain.target.reached import reached, side_by_side
from medtrain.target.spec import DataSpec

__all__ = [
    "DataSpec",
    "Decision",
    "Form",
    "LabelCounts",
    "Outcome",
    "Policy",
    "Predicted",
    "Target",
    "kinds",
    "named_kind",
    "reached",
    "side_by_side",
    "target_from",
    "target_of",
    "target_of_columns",
]

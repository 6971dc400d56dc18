"""Numbers that can stand in a paper: metrics per case, intervals over patients, decisions fitted on validation.

>>> from medtrain.metric import evaluate
>>> evaluate("binary", probs_NC, targets, predictions, ["normal", "pneumonia"], patients)  # doctest: +SKIP
"""

from medtrain.metric.abstention import abstention_curve, doubt, spread
from medtrain.metric.bootstrap import patient_weights, percentile_interval, replicate
from medtrain.metric.calibration import reliability
from medtrain.metric.classification import evaluate
from medtrain.metric.decision import (
    Decision,
    decide,
    fit_decision,
    fit_temperature,
    fit_thresholds,
    parse_policy,
    probabilities,
)
from medtrain.metric.detection import evaluate_boxes, fit_box_thresholds, map50, parse_box_policy
from medtrain.metric.matching import match
from medtrain.metric.paired import holm, paired_differences
from medtrain.metric.ranking import Ranking, auroc
from medtrain.metric.tiles import tile_auroc

__all__ = [
    "Decision",
    "Ranking",
    "abstention_curve",
    "auroc",
    "decide",
    "doubt",
    "evaluate",
    "evaluate_boxes",
    "fit_box_thresholds",
    "fit_decision",
    "fit_temperature",
    "fit_thresholds",
    "holm",
    "map50",
    "match",
    "paired_differences",
    "parse_box_policy",
    "parse_policy",
    "patient_weights",
    "percentile_interval",
    "probabilities",
    "reliability",
    "replicate",
    "spread",
    "tile_auroc",
]

"""Numbers that can stand in a paper: metrics per case, intervals over patients, thresholds and temperatures.

Everything here takes arrays, never a kind of what is predicted: `medtrain.target` knows which of it applies.
"""

from medtrain.metric import conformal, smooth, subgroups, utility  # noqa: F401  analyses, which `analyse` looks up
from medtrain.metric.abstention import abstention_curve, distance, lead, spread
from medtrain.metric.agreement import Agreement, Measurements, evaluate_values
from medtrain.metric.analysis import SetLimits, Study, analyse, merge
from medtrain.metric.bootstrap import patient_weights, percentile_interval, replicate
from medtrain.metric.calibration import reliability
from medtrain.metric.classification import Cases, evaluate
from medtrain.metric.conformal import fit_sets
from medtrain.metric.constant import constant_decisions, constant_scores
from medtrain.metric.detection import Limits, draw_boxes, evaluate_boxes, fit_box_thresholds, map50
from medtrain.metric.hits import Hit, HitRule, find_hits
from medtrain.metric.options import EvalOptions
from medtrain.metric.over_folds import spread_over
from medtrain.metric.paired import Drawn, add_area_tests, differences, draw_cases, holm, least_p, paired_differences
from medtrain.metric.patients import WORDS, by_patient
from medtrain.metric.policy import Parsed, parse_box_policy, parse_policy
from medtrain.metric.precision import expected_precision
from medtrain.metric.ranking import Ranking, auroc
from medtrain.metric.sheet import ExclusiveSheet, LabelsSheet, OrderedSheet, PositiveSheet, Sheet
from medtrain.metric.temperature import SURE, sigmoid_temperature, softmax_temperature
from medtrain.metric.thresholds import fit_threshold
from medtrain.metric.tiles import tile_auroc
from medtrain.metric.unseen import means_of_all
from medtrain.metric.within import within_folds

__all__ = [
    "SURE",
    "WORDS",
    "Agreement",
    "Cases",
    "Drawn",
    "EvalOptions",
    "ExclusiveSheet",
    "Hit",
    "HitRule",
    "LabelsSheet",
    "Limits",
    "Measurements",
    "OrderedSheet",
    "Parsed",
    "PositiveSheet",
    "Ranking",
    "SetLimits",
    "Sheet",
    "Study",
    "abstention_curve",
    "add_area_tests",
    "analyse",
    "auroc",
    "by_patient",
    "constant_decisions",
    "constant_scores",
    "differences",
    "distance",
    "draw_boxes",
    "draw_cases",
    "evaluate",
    "evaluate_boxes",
    "evaluate_values",
    "expected_precision",
    "find_hits",
    "fit_box_thresholds",
    "fit_sets",
    "fit_threshold",
    "holm",
    "lead",
    "least_p",
    "map50",
    "means_of_all",
    "merge",
    "paired_differences",
    "parse_box_policy",
    "parse_policy",
    "patient_weights",
    "percentile_interval",
    "reliability",
    "replicate",
    "sigmoid_temperature",
    "softmax_temperature",
    "spread",
    "spread_over",
    "tile_auroc",
    "within_folds",
]

"""The words and digits in which numbers and names are written, alike in the terminal and in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from medtrain.metric.interval import RELIABLE

LABELS = {
    "auroc_within_folds": "AUROC within folds",
    "auroc": "AUROC",
    "c_index_within_folds": "C-index within folds",
    "c_index": "C-index (Harrell)",
    "uno_c": "C-index (Uno)",
    "integrated_brier": "Integrated Brier score",
    "auprc": "Average precision (AUPRC)",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "Cohen's kappa",
    "kappa_linear": "Cohen's kappa, linear weights",
    "kappa_quadratic": "Cohen's kappa, quadratic weights",
    "mae_grades": "Mean absolute error in grades",
    "within_one": "Within one grade",
    "mae": "Mean absolute error",
    "rmse": "Root mean square error",
    "r2": "R\u00b2",
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
    "concordance": "Lin's concordance",
    "bias": "Bias (predicted minus true)",
    "loa_low": "Lower limit of agreement",
    "loa_high": "Upper limit of agreement",
    "coverage": "Share within predicted 95 % intervals",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "ece_debiased": "Calibration error without bias",
    "ici": "Integrated calibration index (ICI)",
    "e50": "Median calibration error (E50)",
    "e90": "90th percentile of calibration error (E90)",
    "observed_over_expected": "Observed over expected",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "map": "mAP",
    "map50": "mAP at IoU 0.50",
    "map75": "mAP at IoU 0.75",
    "map_small": "mAP of small lesions",
    "map_medium": "mAP of medium lesions",
    "map_large": "mAP of large lesions",
    "ap10": "AP at IoU 0.10",
    "ap30": "AP at IoU 0.30",
    "cpm": "CPM (mean FROC sensitivity)",
    "fp_per_negative_image": "False positives per negative image",
    "tile_auroc": "Tile AUROC",
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "Surface Dice (NSD)",
    "lesion_sensitivity": "Lesion sensitivity",
    "lesion_precision": "Lesion precision",
    "lesion_f1": "Lesion F1",
    "hd95": "Hausdorff distance, 95th percentile (mm)",
    "volume_difference_ml": "Volume difference (ml)",
}
ABSENT = "n/a"
LISTED = 5  # classes of few patients that are named
OUT_OF_FOLD = "out of fold"
"""The name of what a cross-validation tests: all cases, each by networks that had not learned it."""
ACROSS = ("auroc", "auprc")  # metrics that rank cases of different folds against each other


def label(metric: str) -> str:
    """Write a metric's name in words: ``auroc_micro`` -> AUROC, micro average."""
    if metric.endswith("_micro"):
        return f"{label(metric.removesuffix('_micro'))}, micro average"
    if metric.startswith(("auroc_", "brier_", "integrated_brier_")):  # of times to an event, at a horizon
        name, _, horizon = metric.replace("integrated_brier", "integrated-brier").partition("_")
        if horizon[:1].isdigit():
            return f"{LABELS[name.replace('-', '_')]} at {horizon.replace('_', ' to ')}"
    if metric.startswith("froc_"):
        return f"Sensitivity at {metric.removeprefix('froc_')} false positives per image"
    return LABELS.get(metric, metric)


def label_in(metric: str, metrics: Mapping[str, Any]) -> str:
    """Write a metric's name among others: of a cross-validation it says where folds were pooled."""
    return f"{label(metric)}, folds pooled" if metric in ACROSS and "auroc_within_folds" in metrics else label(metric)


def split_name(test: Mapping[str, Any]) -> str:
    """Name the split that was tested; of a cross-validation there is none."""
    return OUT_OF_FOLD if test.get("folds") else str(test.get("split") or "test")


def number(value: Any) -> str:
    """Write three decimals; n/a for None; text as it is."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    return str(value)


def entry(result: Any) -> tuple[str, str]:
    """Write value and interval of ``{"value", "ci95"}`` or of a bare number: ("0.912", "0.880 to 0.941").

    Where there is no interval, the reason stands in its place; where some replicates had no value, how many had one.
    """
    if not isinstance(result, Mapping):
        return number(result), ABSENT
    value, interval = result.get("value"), result.get("ci95")
    if numeric(result.get("if_calibrated")):
        return number(value), f"{number(result['if_calibrated'])} expected of a calibrated model"
    if not interval:
        return number(value), f"none: {result['reason']}" if result.get("reason") else ABSENT
    of = f", defined in {result['defined']:,} of {result['replicates']:,} replicates" if "defined" in result else ""
    return number(value), f"{number(interval[0])} to {number(interval[1])}{of}"


def with_interval(result: Any) -> tuple[str, str]:
    """Write as `entry` does but shorter, for cells that stand under their value."""
    value, interval = entry(result)
    if not isinstance(result, Mapping) or result.get("ci95") is None:
        return value, "no interval" if isinstance(result, Mapping) and result.get("reason") else ""
    return value, interval.split(",")[0]


def cautions(test: Mapping[str, Any]) -> list[str]:
    """Word which intervals are not to be relied on: those of classes of few patients, over all cases and by group."""
    sentences = [_caution("", test.get("few"))]
    for column, groups in (test.get("groups") or {}).items():
        sentences += [_caution(f"{column} {name}: ", group.get("few")) for name, group in groups.items()]
    return [sentence for sentence in sentences if sentence]


def _caution(where: str, few: Mapping[str, Mapping[str, int]] | None) -> str:
    if not few:
        return ""
    names = [f"{name} ({', '.join(f'{n} {side}' for side, n in sides.items())})" for name, sides in few.items()]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    start = f"{where}fewer" if where else "Fewer"
    return (
        f"{start} than {RELIABLE} positive or negative patients: {', '.join(names[:LISTED])}{more}. Their intervals "
        "are not to be relied on."
    )


HEADLINES = ("auroc_within_folds", "auroc", "map", "map50", "cpm", "accuracy")


def headline(metrics: Mapping[str, Any]) -> str | None:
    """Choose the metric to name first: the first of AUROC, mAP, CPM and the rest that has a value."""
    first = ("kappa_quadratic",) if "within_one" in metrics else ()  # grades in order
    order = [*first, *(name for name in HEADLINES if name in metrics), *metrics]
    return next((name for name in order if entry(metrics[name])[0] != ABSENT), None)


def one_line(value: Any) -> str:
    """Write anything of run.json on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one_line(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(one_line(item) for item in value)
    return number(value)


def duration(seconds: Any) -> str:
    """Write seconds in words: 3725 -> 1 h 2 min; 42.4 -> 42 s."""
    if not isinstance(seconds, (int, float)):
        return one_line(seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def memory(megabytes: Any) -> Any:
    """Choose from a run's peak memory the number that counts: the GPU's, else the process's."""
    return megabytes.get("gpu", megabytes.get("process")) if isinstance(megabytes, Mapping) else megabytes


def count(n: Any, singular: str, plural: str | None = None) -> str:
    """Write a number with its noun: 1 patient, 1,204 patients."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}" if isinstance(n, int) else ABSENT


def numeric(value: Any) -> TypeGuard[float]:
    """Tell whether it is a number that can be written: no truth value, not NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value

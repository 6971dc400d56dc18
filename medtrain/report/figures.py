"""The figures of the page: which there are, what stands below each, and what is read to those who can't see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from medtrain.report import plots
from medtrain.report.canvas import BANDS, DRAWN
from medtrain.report.explorer import curves_of
from medtrain.report.folder import RunFolder
from medtrain.report.html import data_uri
from medtrain.report.reliability import bins_of
from medtrain.report.views import Gallery, Note, Section, part, section
from medtrain.report.words import entry, label_in

CAPTIONS = {
    "curves": ("Training", "Loss and validation metric by epoch."),
    "roc": ("ROC", "Each class against the rest; a dot marks the decision that the metrics use."),
    "precision_recall": ("Precision and recall", "The dotted line is the prevalence: what guessing would reach."),
    "box_precision_recall": (
        "Precision and recall",
        "Of the boxes from the surest on; a dot marks the threshold that the metrics use.",
    ),
    "froc": (
        "FROC",
        "Share of the lesions that are found, by false positives an image; a dot marks the threshold. Whiskers are "
        "95 % intervals of the mean of the classes, over patients.",
    ),
    "reliability": ("Reliability", ""),
    "calibration_curve": (
        "Calibration curve",
        "What came true of each predicted probability, by a restricted cubic spline; on the dashed line it is what was "
        "predicted. The band is a 95 % interval over patients, point by point, from the 1st to the 99th percentile.",
    ),
    "decision_curve": (
        "Decision curve",
        "Net benefit of treating whom the model names, by threshold, beside treating everyone (dotted) and no one (0). "
        "The threshold says how many one is willing to treat for one who is ill; a dot is the run's own, if one "
        "decided all cases. The band is a 95 % interval over patients, point by point.",
    ),
    "confusion": ("Decisions", "Number of cases; the shade is the share of its row."),
    "predicted_true": ("Predicted and true", "A dot a case; on the dashed line both agree."),
    "bland_altman": (
        "Agreement (Bland and Altman)",
        "The difference of predicted and true by their mean; lines are the bias and the 95 % limits of agreement, the "
        "shade their 95 % intervals over patients.",
    ),
    "error_by_range": (
        "Error by range",
        "Predicted minus true of the cases within each range of the truth: median, quartiles, and the cases within 1.5 "
        "times their distance.",
    ),
    "predicted_intervals": (
        "Predicted intervals",
        "The share of truths that lie within the intervals that the network itself predicts, by their level.",
    ),
    "abstention": (
        "Abstention",
        "What is left when the least certain cases are handed to a person: the metric by the share of cases kept.",
    ),
}
MAIN = {
    "roc": "auroc",
    "precision_recall": "auprc",
    "reliability": "ece",
    "calibration_curve": "ici",
}  # the number that a figure is about


class Plot(NamedTuple):
    """A figure as the page shows it."""

    src: str
    alt: str
    heading: str
    text: str


@section()
def figures(run: RunFolder) -> Section | None:
    """Draw the figures into plots/ and show them."""
    files = plots.draw(run, run.path / "plots", curves_of(run))
    many = f"Curves show the first {DRAWN} of {len(run.classes)} classes." if len(run.classes) > DRAWN else ""
    shown = tuple(_plot(run, name, file) for name, file in files.items())
    if not shown:
        return None
    return part("figures", "Figures", Note(many) if many else None, Gallery("figures.html.j2", shown))


def _plot(run: RunFolder, name: str, file: Path) -> Plot:
    heading, text = CAPTIONS[name]
    if name == "reliability":
        text = run.target.words.reliability
        if 0 < len(bins_of(run)) <= BANDS:
            text += " Whiskers are 95 % intervals."
    if name in ("roc", "precision_recall") and len(curves_of(run)) <= BANDS:
        text += " Cases of all folds together." if run.out_of_fold else ""
        text += " The band holds 95 % of the bootstrap replicates over patients, point by point."
    results: Any = run.test.get("metrics") or {}
    result = results.get(MAIN.get(name))
    main = f" {label_in(MAIN[name], results)} {entry(result)[0]}." if result is not None else ""
    return Plot(data_uri(file), f"{heading}: {text}{main}", heading, text)

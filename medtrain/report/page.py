"""report.html: a whole run on one page, in one file that opens anywhere and asks nothing of the network.

The page draws the sections that it is given; pictures are data URIs, and a content security policy forbids everything
else: no address, and no script but the explorer's, which is named by its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from medtrain.io.files import write_text
from medtrain.report.box_pictures import box_gallery
from medtrain.report.checklist import checklist
from medtrain.report.cross_validation import cross_validation
from medtrain.report.explorer import explorer
from medtrain.report.facts import configuration, the_run
from medtrain.report.failures import gallery
from medtrain.report.figures import figures
from medtrain.report.flow import data
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.groups import groups
from medtrain.report.html import draw
from medtrain.report.mask_pictures import mask_gallery
from medtrain.report.mask_plots import mask_figures
from medtrain.report.metrics import metrics
from medtrain.report.patients import patients
from medtrain.report.prediction_sets import prediction_sets
from medtrain.report.survival import survival
from medtrain.report.table_alone import table_alone
from medtrain.report.views import Drawer, Section
from medtrain.report.words import ABSENT, count, entry, headline, label, label_in, split_name, with_interval

SECTIONS = (
    data,
    metrics,
    table_alone,
    cross_validation,
    survival,
    figures,
    explorer,
    patients,
    prediction_sets,
    groups,
    gallery,
    box_gallery,
    mask_figures,
    mask_gallery,
    the_run,
    configuration,
    checklist,
)
TILES = (
    "mae",
    "concordance",
    "r2",
    "mae_grades",
    "within_one",
    "auroc_within_folds",
    "auroc",
    "c_index_within_folds",
    "c_index",
    "integrated_brier",
    "map",
    "cpm",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "accuracy",
    "auprc",
    "map50",
)


@dataclass(frozen=True)
class Page:
    """The whole page.

    Args:
        title, summary: what ran, and what came out, in a line each.
        kicker: in small print above them.
        synthetic: the data were phantoms.
        stopped: the status of a run that did not finish, else "".
        warnings: what makes the numbers mean little.
        tiles: (name, value, interval) of the numbers to see first.
        sections: what follows.
    """

    title: str
    summary: str
    kicker: str
    synthetic: bool
    stopped: str
    warnings: Sequence[str]
    tiles: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    template: ClassVar[str] = "page.html.j2"


def write_report(folder: Path, sections: Sequence[Drawer] = SECTIONS) -> Path:
    """Make plots/*.png and report.html from the files of a run folder, or of a test folder within one.

    Args:
        folder: holds run.json or test_metrics.json; everything else (config.yaml, splits.csv, metrics.csv,
            test_predictions.csv, failures/) is shown where it is there.
        sections: what to draw, from top to bottom.

    Returns:
        The path of report.html.

    Raises:
        MedtrainError: nothing of a run is there, or a file is broken.
    """
    run = read_folder(folder)
    report = run.path / "report.html"
    write_text(report, draw(page(run, sections)))
    return report


def page(run: RunFolder, sections: Sequence[Drawer] = SECTIONS) -> Page:
    """Put the page of a run together, of the sections that its predictions and files allow."""
    status = run.run.get("status")
    return Page(
        title=title(run),
        summary=summary(run),
        kicker=", ".join(text for text in (run.name("task"), str(run.run.get("started") or "")) if text),
        synthetic=run.synthetic,
        stopped=str(status) if status in ("failed", "interrupted", "preempted") else "",
        warnings=[*_of_training(run), *(str(warning) for warning in run.test.get("warnings") or ())],
        tiles=tiles(run),
        sections=[drawn for drawer in sections if (drawn := drawer(run)) is not None],
    )


def _of_training(run: RunFolder) -> list[str]:
    """List what went wrong in the training, also of the run that a further test belongs to."""
    exploded = run.run.get("loss_exploded") or (run.above and run.above.run.get("loss_exploded")) or {}
    return [f"In training: {exploded['text']}."] if exploded.get("text") else []


def title(run: RunFolder) -> str:
    """Name the model and its data, as far as they are known."""
    model, source = run.name("model"), run.name("data")
    if model and source:
        return f"{model} on {source}"
    return model or source or run.name("task") or "Run report"


def summary(run: RunFolder) -> str:
    """Say in one sentence which value was reached on how many cases, and how sure it is."""
    results = run.test.get("metrics") or {}
    if not run.test:
        return "This run has no test results yet."
    cases = count(run.test.get("n_cases"), "case")
    if run.test.get("n_patients") is not None:
        cases += f" of {count(run.test['n_patients'], 'patient')}"
    where = f"Out of fold ({cases})" if run.out_of_fold else f"On the {split_name(run.test)} split ({cases})"
    best = headline(results)
    if best is None:
        return f"{where} no metric is defined."
    value, interval = entry(results[best])
    sure = "" if interval == ABSENT else f" (95 % interval: {interval})"
    positive = run.target.positive
    return f"{where}, {label(best)}{f' for {positive}' if positive else ''} is {value}{sure}."


def tiles(run: RunFolder) -> list[tuple[str, str, str]]:
    """List (name, value, interval) of the four numbers to see first."""
    results = run.test.get("metrics") or {}
    return [
        (label_in(name, results), *with_interval(results[name]))
        for name in TILES
        if entry(results.get(name))[0] != ABSENT
    ][:4]

"""report.html: a whole run on one page, in one file that opens anywhere and asks nothing of the network.

Every text that comes from a user (class names, paths, configuration) is escaped; pictures are data URIs, and a content
security policy forbids everything else: no address, and no script but the explorer's, which is named by its hash.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from medtrain.io.files import write_text
from medtrain.report import plots
from medtrain.report.box_pictures import box_gallery
from medtrain.report.canvas import BANDS, DRAWN
from medtrain.report.checklist import checklist
from medtrain.report.explorer import curves_of, explorer
from medtrain.report.failures import gallery
from medtrain.report.flow import flow
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.groups import groups
from medtrain.report.html import Cell, details, note, picture, section, table
from medtrain.report.reliability import bins_of
from medtrain.report.sections import by_class, decision_text, facts, per_class, prevalence, summary, tiles, title
from medtrain.report.style import CSS, SCRIPT, policy
from medtrain.report.words import entry, label

SYNTHETIC = (
    "<b>Synthetic data:</b> this run used generated phantoms. Its numbers show that the pipeline works; "
    "they say nothing about patients."
)
CAPTIONS = {
    "curves": ("Training", "Loss and validation metric by epoch."),
    "roc": (
        "ROC",
        "Each class against the rest; a dot marks the decision that the metrics use.",
    ),
    "precision_recall": (
        "Precision and recall",
        "The dotted line is the prevalence: what guessing would reach.",
    ),
    "box_precision_recall": (
        "Precision and recall",
        "Of the boxes from the surest on; a dot marks the threshold that the metrics use.",
    ),
    "froc": (
        "FROC",
        "Share of the lesions that are found, by false positives an image; a dot marks the threshold. Whiskers are "
        "95 % intervals of the mean of the classes, by bootstrap over patients.",
    ),
    "reliability": ("Reliability", ""),
    "confusion": ("Decisions", "Number of cases; the shade is the share of its row."),
    "abstention": (
        "Abstention",
        "What is left when the least certain cases are handed to a person: the metric by the share of cases kept.",
    ),
}
RELIABILITY = {
    "binary": "Does a predicted probability of the positive class come true as often as it says? On the dashed line "
    "it does. Bins of equal size.",
    "multiclass": "Is the most likely class right as often as its probability says? On the dashed line it is. Bins "
    "of equal size.",
    "multilabel": "Do predicted probabilities come true as often as they say? On the dashed line they do. Bins of "
    "equal size.",
}
PARTS = {
    "data": "Data",
    "metrics": "Metrics",
    "figures": "Figures",
    "explorer": "Operating points",
    "groups": "Subgroups",
    "failures": "Worst mistakes",
    "pictures": "Pictures",
    "run": "The run",
    "checklist": "Checklist",
}


def write_report(folder: Path) -> Path:
    """Make plots/*.png and report.html from the files of a run folder, or of a test folder within one.

    Args:
        folder: holds run.json or test_metrics.json; everything else (config.yaml, splits.csv, metrics.csv,
            test_predictions.csv, failures/) is shown where it is there.

    Returns:
        The path of report.html.

    Raises:
        MedtrainError: nothing of a run is there, or a file is broken.
    """
    run = read_folder(folder)
    report = run.path / "report.html"
    write_text(report, page(run, run.path / "plots"))
    return report


def page(run: RunFolder, figures: Path) -> str:
    """The HTML of a run; its figures are drawn into the folder `figures`."""
    curves = curves_of(run)
    drawn = plots.draw(run, figures, curves)
    body = [
        section("data", "Data", flow(run), _by_class_and_split(run)),
        section("metrics", "Metrics", _metrics(run), _per_class(run)),
        section("figures", "Figures", _figures(run, drawn, bands=len(curves) <= BANDS)),
        explorer(curves, run.kind),
        groups(run),
        gallery(run),
        box_gallery(run),
        section("run", "The run", _facts(run)),
        details("config", "Configuration", f"<pre>{escape(run.config)}</pre>" if run.config.strip() else ""),
        checklist(run),
    ]
    parts = [part for part in body if part]
    script = f"<script>{SCRIPT}</script>\n" if curves else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n'
        f'<title>{escape(title(run))}</title>\n<link rel="icon" href="data:,">\n<style>{CSS}</style>\n</head>\n'
        f"<body>\n<main>\n{_head(run, parts)}\n" + "\n".join(parts) + f"\n</main>\n{script}</body>\n</html>\n"
    )


def _head(run: RunFolder, parts: list[str]) -> str:
    kicker = ", ".join(part for part in (run.name("task"), str(run.run.get("started") or "")) if part)
    links = "".join(
        f'<a href="#{name}">{heading}</a>'
        for name, heading in PARTS.items()
        if any(f'id="{name}"' in p[:60] for p in parts)
    )
    status = run.run.get("status")
    stopped = f"This run did not finish: its status is <b>{escape(str(status))}</b>."
    lines = [
        "<header>",
        f'<p class="kicker">{escape(kicker)}</p>' if kicker else "",
        f"<h1>{escape(title(run))}</h1>",
        f'<p class="summary">{escape(summary(run))}</p>',
        f'<p class="banner" role="note">{SYNTHETIC}</p>' if run.synthetic else "",
        f'<p class="banner" role="note">{stopped}</p>' if status in ("failed", "interrupted", "preempted") else "",
        _tiles(run),
        f'<nav aria-label="Parts of this page">{links}</nav>',
        "</header>",
    ]
    return "\n".join(line for line in lines if line)


def _tiles(run: RunFolder) -> str:
    boxes = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<span class=interval>{escape(interval)}</span></dd></div>"
        for name, value, interval in tiles(run)
    )
    return f'<dl class="tiles">{boxes}</dl>' if boxes else ""


def _by_class_and_split(run: RunFolder) -> str:
    header, rows = by_class(run)
    return table(
        header, [(name, [Cell(text) for text in cells]) for name, cells in rows], "names", "Images of each class"
    )


def _metrics(run: RunFolder) -> str:
    rows = [
        (name, [Cell(value), Cell(interval, number=False)])
        for name, value, interval in [
            *((label(name), *entry(result)) for name, result in (run.test.get("metrics") or {}).items()),
            *prevalence(run),
        ]
    ]
    notes = "".join(note(text) for text in decision_text(run)) if rows else ""
    return table(["Metric", "Value", "95 % interval"], rows, "metrics", "Metrics of all cases") + notes


def _per_class(run: RunFolder) -> str:
    header, rows = per_class(run)
    if not rows:
        return ""
    lines = [(name, [Cell(positives), *(Cell(v, i) for v, i in cells)]) for name, positives, cells in rows]
    return f"<h3>By class</h3>\n{table(header, lines, 'names', 'Metrics of each class')}"


def _figures(run: RunFolder, drawn: dict[str, Path], bands: bool) -> str:
    blocks = []
    for name, file in drawn.items():
        heading, text = CAPTIONS[name]
        text = text or RELIABILITY.get(run.kind, "")
        if name in ("roc", "precision_recall") and bands:
            text += " The band holds 95 % of the bootstrap replicates over patients, point by point."
        if name == "reliability" and 0 < len(bins_of(run)) <= BANDS:
            text += " Whiskers are 95 % intervals."
        alt = f"{heading}: {text}{_told(run, name)}"
        blocks.append(picture(file, alt, f"<b>{escape(heading)}.</b> {escape(text)}"))
    if not blocks:
        return ""
    many = f"Curves show the first {DRAWN} of {len(run.classes)} classes." if len(run.classes) > DRAWN else ""
    return f'{note(many)}<div class="figures">\n' + "\n".join(blocks) + "\n</div>"


def _told(run: RunFolder, figure: str) -> str:
    """The figure's main number, for those who can't see it."""
    metric = {"roc": "auroc", "precision_recall": "auprc", "reliability": "ece"}.get(figure)
    result: Any = (run.test.get("metrics") or {}).get(metric)
    return f" {label(metric)} {entry(result)[0]}." if metric and result is not None else ""


def _facts(run: RunFolder) -> str:
    return table([], [(name, [Cell(value, number=False)]) for name, value in facts(run)], "facts", "Facts of the run")

"""report.html: a whole run on one page, in one file that opens anywhere and asks nothing of the network.

Every text that comes from a user (class names, paths, configuration) goes through `html.escape`; pictures are data
URIs and a content security policy forbids everything else, scripts included.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from medtrain.io.files import write_text
from medtrain.report import plots
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.sections import counts_by_split, decision_text, facts, per_class, summary, title
from medtrain.report.style import CSS
from medtrain.report.words import entry, label

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SYNTHETIC = (
    "<b>Synthetic data:</b> this run used generated phantoms. Its numbers show that the pipeline works; "
    "they say nothing about patients."
)
CAPTIONS = {
    "curves": ("Training", "Loss and validation metric by epoch."),
    "roc": ("ROC", "Each class against the rest; a dot marks the decision that the metrics use."),
    "precision_recall": ("Precision and recall", "The dotted line is the prevalence: what guessing would reach."),
    "reliability": ("Reliability", ""),
    "confusion": ("Decisions", "Number of cases; the shade is the share of its row."),
}
RELIABILITY = {
    "binary": "Does a predicted probability of the positive class come true as often as it says? On the dashed line "
    "it does. 15 bins of equal size.",
    "multiclass": "Is the most likely class right as often as its probability says? On the dashed line it is. 15 bins "
    "of equal size.",
    "multilabel": "Do predicted probabilities come true as often as they say? On the dashed line they do. All labels "
    "together, 15 bins of equal size.",
}


def write_report(folder: Path) -> Path:
    """Make plots/*.png and report.html from the files of a run folder, or of a test folder within one.

    Args:
        folder: holds run.json or test_metrics.json; everything else (config.yaml, splits.csv, metrics.csv,
            test_predictions.csv) is shown where it is there.

    Returns:
        The path of report.html.

    Raises:
        MedtrainError: nothing of a run is there, or a file is broken.
    """
    run = read_folder(folder)
    figures = plots.draw(run, run.path / "plots")
    report = run.path / "report.html"
    write_text(report, page(run, figures))
    return report


def page(run: RunFolder, figures: dict[str, Path]) -> str:
    """The HTML of a run and its figures."""
    name = title(run)
    kicker = ", ".join(part for part in (run.name("task"), str(run.run.get("started") or "")) if part)
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="kicker">{escape(kicker)}</p>' if kicker else "",
        f'<p class="banner" role="note">{SYNTHETIC}</p>' if run.synthetic else "",
        _stopped(run),
        f'<p class="summary">{escape(summary(run))}</p>',
        _metrics(run),
        _per_class(run),
        _counts(run),
        _figures(run, figures),
        _facts(run),
        _config(run),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<title>{escape(name)}</title>\n<link rel="icon" href="data:,">\n<style>{CSS}</style>\n</head>\n'
        "<body>\n<main>\n" + "\n".join(part for part in parts if part) + "\n</main>\n</body>\n</html>\n"
    )


def _stopped(run: RunFolder) -> str:
    status = run.run.get("status")
    if status not in ("failed", "interrupted", "preempted"):
        return ""
    return f'<p class="banner" role="note">This run did not finish: its status is <b>{escape(status)}</b>.</p>'


def _metrics(run: RunFolder) -> str:
    metrics = run.test.get("metrics") or {}
    if not metrics:
        return ""
    calibration = run.test.get("calibration")
    shown = {name: result for name, result in calibration.items() if _is_result(result)} if calibration else {}
    rows = [_metric_row(label(name), result) for name, result in (metrics | shown).items()]
    table = _table(["Metric", "Value", "95 % interval"], rows)
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in decision_text(run))
    return f"<h2>Metrics</h2>\n{table}\n{notes}"


def _is_result(result: Any) -> bool:
    return isinstance(result, (int, float)) or (isinstance(result, dict) and "value" in result)


def _metric_row(name: str, result: Any) -> str:
    value, interval = entry(result)
    return (
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{escape(value)}</td>'
        f'<td class="interval">{escape(interval)}</td></tr>'
    )


def _per_class(run: RunFolder) -> str:
    header, rows = per_class(run)
    if not rows:
        return ""
    lines = []
    for name, positives, cells in rows:
        written = "".join(
            f'<td class="number">{escape(value)}<span class="interval">{escape(interval)}</span></td>'
            for value, interval in cells
        )
        lines.append(
            f'<tr><th scope="row">{escape(name)}</th><td class="number">{escape(positives)}</td>{written}</tr>'
        )
    return f"<h2>By class</h2>\n{_table(header, lines, 'names')}"


def _counts(run: RunFolder) -> str:
    rows = [
        f'<tr><th scope="row">{escape(split)}</th><td class="number">{cases:,}</td>'
        f'<td class="number">{escape(patients)}</td><td>{escape(positives)}</td></tr>'
        for split, cases, patients, positives in counts_by_split(run)
    ]
    if not rows:
        return ""
    header = ["Split", "Cases", "Patients", "Positives"]
    return f"<h2>Data</h2>\n{_table(header, rows, 'names')}"


def _figures(run: RunFolder, figures: dict[str, Path]) -> str:
    blocks = []
    for name, file in figures.items():
        heading, text = CAPTIONS[name]
        text = text or RELIABILITY.get(run.kind, "")
        picture = base64.b64encode(file.read_bytes()).decode("ascii")
        blocks.append(
            f'<figure><img alt="{escape(heading)}: {escape(text)}" src="data:image/png;base64,{picture}">'
            f"<figcaption><b>{escape(heading)}.</b> {escape(text)}</figcaption></figure>"
        )
    if len(run.classes) > plots.DRAWN and blocks:
        note = f'<p class="note">Curves show the first {plots.DRAWN} of {len(run.classes)} classes.</p>'
    else:
        note = ""
    return f'<h2>Figures</h2>\n{note}<div class="figures">\n' + "\n".join(blocks) + "\n</div>" if blocks else ""


def _facts(run: RunFolder) -> str:
    rows = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in facts(run)]
    return f"<h2>The run</h2>\n{_table([], rows, 'facts')}" if rows else ""


def _config(run: RunFolder) -> str:
    if not run.config.strip():
        return ""
    return f"<details>\n<summary>Configuration</summary>\n<pre>{escape(run.config)}</pre>\n</details>"


def _table(header: list[str], rows: list[str], kind: str = "") -> str:
    numeric = {"Value", "Cases", "Patients"} if kind != "names" or "Split" in header else set(header[1:])
    cells = "".join(
        f'<th scope="col"{" class=number" if name in numeric else ""}>{escape(name)}</th>' for name in header
    )
    head = f"<thead><tr>{cells}</tr></thead>\n" if header else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>\n' + "\n".join(rows) + "\n</tbody></table></div>"

"""The operating-point explorer: what another threshold would have done, for those who must choose one.

All numbers are computed here, on a grid of thresholds with intervals over patients, and set into the page as JSON; the
page's script only looks them up. Without a script, and on paper, the table at the decision stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from medtrain.metric.binary import npv, ppv, sensitivity, specificity
from medtrain.metric.operating import OperatingPoints, even_npv, even_ppv, operating_points, threshold_grid
from medtrain.report.folder import Array, RunFolder
from medtrain.report.html import Cell, note, section, table
from medtrain.report.words import number

RATES = {"sensitivity": sensitivity, "specificity": specificity, "ppv": ppv, "npv": npv}
NAMES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
THRESHOLDS = 200  # of a class; fewer where there are many classes
NUMBERS = 2400  # thresholds of all classes together: about 300 kB of the page
MOST = 40  # classes that can be chosen


@dataclass(frozen=True)
class Curve:
    """One class against the rest, over thresholds.

    Args:
        c: the number of the class.
        points: at each threshold.
        decision: the threshold that the metrics use; None where the most probable class is taken.
        target, score: of the cases whose label is known.
    """

    c: int
    name: str
    points: OperatingPoints
    decision: float | None
    target: Array
    score: Array


def curves_of(run: RunFolder) -> list[Curve]:
    """The classes that can be told apart in the test: both with positives and with negatives."""
    predictions = run.predictions()
    if predictions is None:
        return []
    limits = (run.test.get("decision") or {}).get("thresholds") or {}
    numbers = [len(run.classes) - 1] if run.kind == "binary" else list(range(len(run.classes)))[:MOST]
    size = min(THRESHOLDS, max(20, NUMBERS // max(1, len(numbers))))
    replicates = 400 if predictions.probs_NC.size < 200_000 else 200
    found = []
    for c in numbers:
        target, score = predictions.target_NC[:, c], predictions.probs_NC[:, c]
        known = np.isfinite(target)
        target, score = target[known], score[known]
        if not 0 < target.sum() < len(target):
            continue
        patients = None
        if predictions.patients is not None:
            patients = [who for who, there in zip(predictions.patients, known, strict=True) if there]
        name = run.classes[c]
        limit = limits.get(name)
        decision = float(limit) if isinstance(limit, (int, float)) else None
        grid = threshold_grid(score, target, size, keep=() if decision is None else (decision,))
        points = operating_points(score, target, patients, grid, replicates=replicates)
        found.append(Curve(c, name, points, decision, target, score))
    return found


def data_of(curve: Curve) -> dict[str, Any]:
    """What the script needs of a class: JSON values, undefined ones null."""
    points = curve.points
    rates = {
        name: _triples(points.rate(of)) for name, of in (RATES | {"even_ppv": even_ppv, "even_npv": even_npv}).items()
    }
    return {
        "name": curve.name,
        "start": start_of(curve),
        "fitted": curve.decision is not None,
        "thresholds": points.thresholds_T.tolist(),
        "counts": points.counts_T4.astype(int).tolist(),
        **rates,
    }


def start_of(curve: Curve) -> int:
    """Where the slider starts: at the decision, else nearest to one half."""
    aim = 0.5 if curve.decision is None else curve.decision
    return int(np.abs(curve.points.thresholds_T - aim).argmin())


def explorer(curves: Sequence[Curve], kind: str) -> str:
    """The panel that the script fills, its data, and the table at the decision."""
    if not curves:
        return ""
    data = json.dumps([data_of(curve) for curve in curves], separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return section(
        "explorer",
        "Operating points",
        _panel(curves, _about(kind)),
        f'<div class="at-decision">{_at_decision(curves)}</div>',
        note(
            "Intervals are 95 %, by bootstrap over patients, each threshold on its own. A threshold chosen here, on "
            "test data, looks better than it is: to use another, set eval.threshold, which is fitted on validation "
            "data, and train or test again."
        ),
        f'<script type="application/json" id="explorer-data">{data}</script>',
    )


def _about(kind: str) -> str:
    if kind == "multiclass":
        return (
            "One class against the rest: what would count as this class from the threshold on. The run's own decision "
            "is the most probable class, which no threshold expresses; the slider starts near 0.5."
        )
    return "What another threshold would have done to these cases. The slider starts at the run's own decision."


def _panel(curves: Sequence[Curve], about: str) -> str:
    options = "".join(f'<option value="{i}">{escape(curve.name)}</option>' for i, curve in enumerate(curves))
    chooser = f'<label class="field">Class <select id="x-class">{options}</select></label>' if len(curves) > 1 else ""
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td class="number" id="x-{key}"></td>'
        f'<td class="interval" id="x-{key}-ci"></td><td class="bar"><svg id="x-{key}-bar" viewBox="0 0 100 10" '
        f'preserveAspectRatio="none" aria-hidden="true"><path class="rail" d="M0 5H100"/><path class="range"/>'
        '<path class="dot"/></svg></td></tr>'
        for key, name in NAMES.items()
    )
    return f"""<div class="panel">{note(about)}
<div class="controls">{chooser}
<label class="field wide" for="x-slider"><span>Threshold <output id="x-threshold" for="x-slider"></output></span>
<input id="x-slider" type="range" min="0" step="1"></label>
<label class="field">Prevalence, % <input id="x-prevalence" type="number" min="0" max="100" step="any"
 inputmode="decimal" aria-describedby="x-prevalence-note"></label>
<button id="x-reset" type="button">Back to the start</button></div>
<div class="columns">
<div class="scroll"><table aria-label="At this threshold"><thead><tr><th scope="col">At this threshold</th>
<th scope="col" class="number">Value</th><th scope="col">95 % interval</th><td></td></tr></thead>
<tbody>{rows}</tbody></table></div>
<div class="scroll"><table class="fourfold" aria-label="Cases at this threshold"><thead><tr><td></td>
<th scope="col" class="number">said positive</th><th scope="col" class="number">said negative</th></tr></thead><tbody>
<tr><th scope="row">truly positive</th>
<td class="number good" id="x-tp"></td><td class="number bad" id="x-fn"></td></tr>
<tr><th scope="row">truly negative</th>
<td class="number bad" id="x-fp"></td><td class="number good" id="x-tn"></td></tr>
</tbody></table></div>
<svg id="x-roc" viewBox="-14 -4 122 120" role="img" aria-label="ROC curve with the chosen operating point">
<path class="frame" d="M0 0V100H100"/><path class="chance" d="M0 100L100 0"/><path class="curve"/>
<circle class="point" r="3"/><text x="50" y="113" text-anchor="middle">1 - specificity</text>
<text transform="translate(-6 50) rotate(-90)" text-anchor="middle">sensitivity</text></svg></div>
<p id="x-words" role="status"></p>
<p class="note" id="x-prevalence-note"></p>
</div>"""


def _at_decision(curves: Sequence[Curve]) -> str:
    rows = []
    for curve in curves:
        i = start_of(curve)
        cells = [Cell(number(float(curve.points.thresholds_T[i])))]
        for of in RATES.values():
            value, low, high = _triples(curve.points.rate(of))[i]
            cells.append(Cell(number(value), "" if low is None else f"{number(low)} to {number(high)}"))
        cells += [Cell(f"{int(n):,}") for n in curve.points.counts_T4[i]]
        rows.append((curve.name, cells))
    header = ["Class", "Threshold", *NAMES.values(), "TP", "FP", "FN", "TN"]
    return table(header, rows, "names", "Operating point at the start")


def _triples(rate: tuple[Array, Array]) -> list[list[float | None]]:
    """[value, low, high] at each threshold."""
    values_T, intervals_T2 = rate
    rows = np.column_stack([values_T, intervals_T2]).tolist()
    return [[None if x != x else round(x, 5) for x in row] for row in rows]

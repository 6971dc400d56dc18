"""The outcome of the test in numbers: metrics of all cases and of each class, and how predictions were decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medtrain.report.counts import positives
from medtrain.report.cross_validation import decided_by_fold
from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, Table, part, section, table, texts
from medtrain.report.words import (
    ABSENT,
    cautions,
    entry,
    label,
    label_in,
    number,
    numeric,
    one_line,
    split_name,
    with_interval,
)

PER_CLASS = (
    "auroc_within_folds",
    "auroc",
    "auprc",
    "map",
    "map50",
    "cpm",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "calibration_slope",
    "calibration_intercept",
)


COUNTED = {"boxes": "Boxes", "values": "Known", "masks": "Cases with a mask"}  # of a class, by the form of predictions
REACHED = {"sensitivity": "positive", "specificity": "negative", "ppv": ""}  # and the cases that it is a share of


@section()
def metrics(run: RunFolder) -> Section | None:
    """Draw the tables of metrics, with notes on how to read them."""
    results = run.test.get("metrics") or {}
    of_all = [(label_in(name, results), *entry(result)) for name, result in results.items()]
    rows = [(name, [Cell(value), *texts(interval)]) for name, value, interval in [*of_all, *_at_prevalence(run)]]
    notes = map(Note, [*cautions({"few": run.test.get("few")}), *decision_text(run)]) if rows else ()
    together = table(["Metric", "Value", "95 % interval"], rows, "metrics", "Metrics of all cases")
    return part("metrics", "Metrics", together, *notes, _operating_point(run), _per_class(run))


def decision_text(run: RunFolder) -> list[str]:
    """Word how predictions were decided, and what to keep in mind."""
    decision = run.test.get("decision") or {}
    if decision and "boxes" in run.target.forms:
        return _of_boxes(run, decision)
    if "times" in run.target.forms:
        return _of_risks(run)
    if "masks" in run.target.forms:
        return [run.target.words.decided, *_of_components(run)]
    if "values" in run.target.forms:
        notes = [run.target.words.decided]
    elif run.out_of_fold:
        notes = [decided_by_fold(run)]
    else:
        notes = (
            [" ".join([_decided(decision, run.target.words.decided), _fitted(decision, run.members)])]
            if decision
            else []
        )
    if {"ppv", "npv"} & set(run.test.get("metrics") or {}):
        notes.append("PPV and NPV hold at the prevalence of these data.")
    if "calibration_slope" in (run.test.get("metrics") or {}):
        notes.append(
            "Calibration slope 1 and intercept 0 are ideal: a slope below 1 means probabilities that are too extreme, "
            "an intercept above 0 ones that are too low."
        )
    averages = run.target.words.averages
    return [*notes, averages] if averages else notes


def _operating_point(run: RunFolder) -> Table | None:
    """Put what the thresholds reach on validation beside the test, and by how much it falls short of the policy."""
    rows = []
    for name, point in (run.test.get("operating_point") or {}).items():
        policy, sides = point["asked"] or {}, (point["validation"] or {}, point["test"])
        for metric in (metric for metric in REACHED if metric in point["test"]):
            goal = policy.get("value") if policy.get("metric") == metric else None
            cells = [Cell("" if goal is None else number(goal))]
            for side in sides:
                cells += [Cell(*with_interval(side.get(metric))), Cell(number(side.get(REACHED[metric], "")))]
            cells.append(Cell("" if goal is None or point["short_by"] is None else number(point["short_by"])))
            rows.append((f"{name}: {label(metric)}", cells))
    of, split = "Of boxes" if "boxes" in run.target.forms else "Of cases", split_name(run.test)
    header = ["At the threshold", "Asked for", "Validation", of, split.capitalize(), of, "Short by"]
    where = split if run.out_of_fold else f"on {split}"
    return table(header, rows, "names", f"What the thresholds reach on validation and {where}")


def _decided(decision: dict[str, Any], words: str) -> str:
    limits = decision.get("thresholds") or {}
    if len(limits) == 1:
        name, limit = next(iter(limits.items()))
        if limit > 1:
            return f"No case counts as {name}: {one_line(decision.get('policy'))} asks for more than any probability."
        return f"A case counts as {name} from a probability of {number(limit)} on."
    if limits:
        return f"A label counts as present from these probabilities on: {_listed(limits)}."
    return words


def _fitted(decision: dict[str, Any], members: Sequence[dict[str, Any]]) -> str:
    policy, basis = decision.get("policy"), decision.get("basis") or "validation data"
    fitted = decision.get("thresholds") and not _fixed(decision)
    if members:
        own = ", ".join(number(member.get("temperature")) for member in members)
        thresholds = f" The threshold of the mean ({policy}) was fitted on {basis}." if fitted else ""
        return (
            f"Probabilities are the mean of {len(members)} networks, each calibrated by its own temperature ({own})."
            + thresholds
        )
    temperature = number(decision.get("temperature"))
    if fitted:
        return f"Thresholds ({policy}) and temperature ({temperature}) were fitted on {basis}."
    return f"The temperature ({temperature}) was fitted on {basis}."


def _fixed(decision: dict[str, Any]) -> bool:
    """Tell whether the policy is a threshold itself."""
    policy = decision.get("policy")
    return not isinstance(policy, str) or policy.replace(".", "", 1).isdigit()


def _of_components(run: RunFolder) -> list[str]:
    """Word of which classes of masks only a part counts, if of any."""
    names = run.test.get("largest_component") or ()
    return [f"Of {', '.join(map(one_line, names))} only the largest connected component counts."] if names else []


def _of_risks(run: RunFolder) -> list[str]:
    """Word how to read metrics of times to an event."""
    return [
        "C-index: of two cases of which one had the event while the other was still followed, how often that one had "
        "the higher risk; 0.5 is guessing. Harrell's depends on who was censored when, Uno's does not. The integrated "
        "Brier score is the mean over the horizons, by trapezoids; 0.25 is guessing one half."
    ]


def _of_boxes(run: RunFolder, decision: dict[str, Any]) -> list[str]:
    fitted = "as eval.threshold says" if _fixed(decision) else f"{decision.get('policy')}, fitted on validation data"
    shown = (
        f"A box is shown from this score on: {_listed(decision.get('thresholds') or {})} ({fitted}). Sensitivity, PPV, "
        "F1 and false positives per negative image are those at it."
    )
    return [
        decided_by_fold(run) if run.out_of_fold else shown,
        "mAP is COCO's, which counts the 100 surest boxes of an image and class. In FROC and at the threshold "
        f"{_hit(run)}. Small is below 32 x 32 pixels of the original, large above 96 x 96. A negative image shows no "
        "lesion, nor a crowd or a difficult one.",
        "Metrics are means over the classes that occur.",
    ]


def _hit(run: RunFolder) -> str:
    if run.test.get("hit") == "centre":
        return (
            "all boxes count, and the surest one of its class whose centre lies within the ellipse inscribed in a "
            "lesion finds it; further ones count nowhere (LUNA16's rule and interpolation)"
        )
    limit = number(run.test.get("iou"))
    return f"all boxes count, and one finds a lesion of its class, once, that it overlaps by an IoU of {limit}"


def _listed(limits: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number(limit)}" for name, limit in limits.items())


def _per_class(run: RunFolder) -> Table | None:
    """Tabulate the metrics of each class; None where one class is looked for."""
    results = run.test.get("per_class") or {}
    if run.target.positive or "times" in run.target.forms or len(results) < 2:
        return None
    names = [n for n in PER_CLASS if any(n in entries for entries in results.values())]
    names = names or list(dict.fromkeys(n for entries in results.values() for n in entries))
    counts = positives(run)
    header = [
        "Class",
        next((word for form, word in COUNTED.items() if form in run.target.forms), "Positives"),
        *(label(n) if n != "auprc" else "AUPRC" for n in names),
    ]
    rows = []
    for name, entries in results.items():
        count = f"{counts[name]:,}" if name in counts else ABSENT
        rows.append((name, [Cell(count), *(Cell(*with_interval(entries.get(n))) for n in names)]))
    return table(header, rows, "names", "Metrics of each class", heading="By class")


def _at_prevalence(run: RunFolder) -> list[tuple[str, str, str]]:
    """List (name, value, interval) of the predictive values at `eval.prevalence`."""
    assumed = run.test.get("prevalence") or {}
    share = assumed.get("prevalence")
    where = f"at a prevalence of {100 * share:.3g} %" if numeric(share) else f"at a prevalence of {one_line(share)}"
    return [(f"{label(name)} {where}", *entry(result)) for name, result in (assumed.get("metrics") or {}).items()]

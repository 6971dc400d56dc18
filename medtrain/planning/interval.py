"""How wide the interval of an AUROC would be, in words: what a test split, or all cases, would say at most."""

from __future__ import annotations

from medtrain.metric.precision import expected_precision
from medtrain.planning.facts import Facts

SUPPOSED = 0.8  # an AUROC
LUCK = 30  # cases to train on, below which a result says nothing of the next one
LUCKY = 10  # patients of a class, the same


def expected_interval(facts: Facts, name: str, splits: list[str]) -> str:
    """Write the 95 % interval that an AUROC of `SUPPOSED` would have over the patients of some splits.

    Args:
        name: of a class, whose patients are the events.
    """
    rows = [facts.classes[split][name] for split in splits if name in facts.classes.get(split, {})]
    events = sum(row["patients"] for row in rows)
    others = max(1, sum(facts.patients[split] for split in splits) - events)
    limits = expected_precision(max(events, 1), others)["auroc"]["ci95"] or (0.0, 1.0)
    return "{:.2f} to {:.2f}".format(*limits)


def what_the_test_says(facts: Facts, folds: int, name: str = "") -> str:
    """Say how many patients the test rests on, and what interval follows; '' where there is nothing to count.

    Args:
        folds: of a cross-validation, which tests all; 1 without.
        name: of the class that is counted; by default the rarest.
    """
    splits = list(facts.cases) if folds > 1 else ["test"]
    where = f"{folds} folds test" if folds > 1 else "the test split holds"
    name = name or facts.rarest(*splits)[0]
    events = facts.with_class(*splits).get(name, 0)
    if not name:
        patients = sum(facts.patients.get(split, 0) for split in splits)
        return f"{where} {patients:,} {facts.people}" if patients else ""
    text = f"{where} {facts.number(events)} with {facts.called(name)}"
    rows = {**facts.classes.get(splits[-1], {}), **facts.classes.get(splits[0], {})}
    if name not in rows or len(facts.boxes):  # events and lesions are judged by other metrics
        return text
    return f"{text}, an AUROC of {SUPPOSED} would be known to within {expected_interval(facts, name, splits)}"


def too_few(facts: Facts) -> str:
    """Say that there is too little to learn from; '' where there is more, or a case is many answers (boxes)."""
    name, events = facts.rarest("train")
    rare = bool(name) and events < LUCKY
    if not facts.loss or (facts.train >= LUCK and not rare):
        return ""
    what, val = facts.trained, facts.cases.get("val", 0)
    if rare:
        what = f"{facts.number(events)} with {facts.called(name)}"
        val = (facts.classes or facts.events).get("val", {}).get(name, {}).get("patients", 0)
    return f"check: {what} to train on, {val:,} to choose by: whatever comes of so few is luck"

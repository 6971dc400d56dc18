"""The flow of cases, as CONSORT draws it: what the data held, what was left out and why, what each split was for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from medtrain.report.counts import SplitCounts, by_class, counted, counts_by_split, unit
from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Section, part, section, table
from medtrain.report.words import count

REASONS = {
    "filtered": "not selected by data.filter",
    "leaking": "in two splits (data.leakage=drop)",
    "unlisted": "not used by the run",
    "unreadable": "unreadable",
    "missing": "without a file",
    "missing_patient": "without a patient",
    "missing_split": "without a split",
    "missing_label": "without a label",
    "bad_label": "with an unreadable label",
    "duplicate_row": "listed twice",
    "label_conflict": "with conflicting labels",
}
PURPOSE = {
    "train": "fits the weights",
    "val": "chooses the checkpoint and the decision",
    "validation": "chooses the checkpoint and the decision",
    "test": "judges the result, nothing else",
    "out of fold": "judged by networks that had not learned it; trains and tunes those of other folds",
}


class Box(NamedTuple):
    """A box of the flow: its title, lines and list below it, the classes and purpose of a split, its style."""

    title: str
    lines: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    classes: str = ""
    purpose: str = ""
    style: str = ""


@dataclass(frozen=True)
class Flow:
    """Boxes one below the other, and the splits side by side below them."""

    steps: tuple[Box, ...]
    splits: tuple[Box, ...]
    template: ClassVar[str] = "flow.html.j2"


@section()
def data(run: RunFolder) -> Section | None:
    """Draw the flow of cases and the classes of each split."""
    header, rows = by_class(run)
    lines = [(name, [Cell(text) for text in cells]) for name, cells in rows]
    return part("data", "Data", flow(run), table(header, lines, "names", f"{unit(run).capitalize()} of each class"))


def flow(run: RunFolder) -> Flow | None:
    """Follow the cases from the table down to the splits; None where no split is known."""
    splits = counts_by_split(run)
    if not splits:
        return None
    used = sum(split.cases for split in splits)
    excluded = excluded_of(run)
    patients, source = _patients(run), _source(run)
    steps = [_trained(run.above)] if external(run) and run.above is not None else []
    if excluded:
        out = sum(n for _, n in excluded)
        steps += [
            Box(f"In the data: {counted(run, used + out)}", source),
            Box(
                f"Left out: {counted(run, out)}",
                items=tuple(f"{n:,} {reason}" for reason, n in excluded),
                style="aside",
            ),
            Box(f"Used: {counted(run, used)}", patients),
        ]
    else:
        whole = () if run.run.get("excluded") is None else ("Nothing was left out.",)
        steps.append(Box(f"Used: {counted(run, used)}", (*patients, *source, *whole)))
    return Flow(tuple(steps), tuple(_split(run, split) for split in splits))


def excluded_of(run: RunFolder) -> list[tuple[str, int]]:
    """List (reason in words, cases) of what was left out."""
    reasons: dict[str, Any] = run.run.get("excluded") or {}
    return [(REASONS.get(reason, reason.replace("_", " ")), int(n)) for reason, n in reasons.items() if n]


def external(run: RunFolder) -> bool:
    """Tell whether this is a test on other data than the run was trained on."""
    own, above = run.run.get("fingerprints"), run.above and run.above.run.get("fingerprints")
    return bool(own and above and own != above)


def _trained(run: RunFolder) -> Box:
    parts = [
        f"{split.name} {counted(run, split.cases)} of {count(split.patients, 'patient')}"
        for split in counts_by_split(run)
        if split.name != "test"
    ]
    title = f"The model was trained on other data: {run.name('data') or 'not recorded'}"
    return Box(title, ("; ".join(parts),), style="trained")


def _source(run: RunFolder) -> tuple[str, ...]:
    name = run.name("data")
    return (f"{name}{', synthetic' if run.synthetic else ''}",) if name else ()


def _patients(run: RunFolder) -> tuple[str, ...]:
    if run.splits is None or "patient" not in run.splits:
        return ()
    return (count(int(run.splits["patient"].nunique()), "patient"),)


def _split(run: RunFolder, split: SplitCounts) -> Box:
    purpose = PURPOSE.get(split.name, "")
    if run.above is not None and split.name != str(run.test.get("split") or "test"):
        purpose = "not part of this test"
    patients = () if split.patients is None else (count(split.patients, "patient"),)
    return Box(f"{split.name}: {counted(run, split.cases)}", patients, classes=split.positives, purpose=purpose)

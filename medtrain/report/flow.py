"""The flow of cases, as CONSORT draws it: what the data held, what was left out and why, what each split was for."""

from __future__ import annotations

from html import escape
from typing import Any

from medtrain.report.folder import RunFolder
from medtrain.report.sections import SplitCounts, counts_by_split
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
}


def flow(run: RunFolder) -> str:
    """Boxes from the table down to the splits; nothing where no split is known."""
    splits = counts_by_split(run)
    if not splits:
        return ""
    used = sum(split.cases for split in splits)
    excluded = excluded_of(run)
    boxes = []
    if external(run) and run.above is not None:
        boxes.append(_trained(run.above))
    if excluded:
        listed = used + sum(n for _, n in excluded)
        reasons = "".join(f"<li>{n:,} {escape(reason)}</li>" for reason, n in excluded)
        left_out = f"<b>Left out: {count(listed - used, 'image')}</b><ul>{reasons}</ul>"
        boxes.append(_box(f"<b>In the data: {count(listed, 'image')}</b>{_source(run)}"))
        boxes.append(f'<li class="aside">{_inner(left_out)}</li>')
        boxes.append(_box(f"<b>Used: {count(used, 'image')}</b>{_patients(run)}"))
    else:
        told = "" if run.run.get("excluded") is None else "<p>Nothing was left out.</p>"
        boxes.append(_box(f"<b>Used: {count(used, 'image')}</b>{_patients(run)}{_source(run)}{told}"))
    parts = "".join(f"<li>{_inner(_split(run, split))}</li>" for split in splits)
    return f'<ol class="flow">{"".join(boxes)}<li class="splits"><ul>{parts}</ul></li></ol>'


def excluded_of(run: RunFolder) -> list[tuple[str, int]]:
    """(reason in words, images) of what was left out."""
    reasons: dict[str, Any] = run.run.get("excluded") or {}
    return [(REASONS.get(reason, reason.replace("_", " ")), int(n)) for reason, n in reasons.items() if n]


def external(run: RunFolder) -> bool:
    """Is this a test on other data than the run was trained on?"""
    own, above = run.run.get("fingerprints"), run.above and run.above.run.get("fingerprints")
    return bool(own and above and own != above)


def _trained(run: RunFolder) -> str:
    parts = [
        f"{split.name} {count(split.cases, 'image')} of {count(split.patients, 'patient')}"
        for split in counts_by_split(run)
    ]
    told = f"<p>{escape('; '.join(part for part in parts if not part.startswith('test ')))}</p>"
    return _box(
        f"<b>The model was trained on other data: {escape(run.name('data') or 'not recorded')}</b>{told}", "trained"
    )


def _source(run: RunFolder) -> str:
    name = run.name("data")
    return f"<p>{escape(name)}{', synthetic' if run.synthetic else ''}</p>" if name else ""


def _patients(run: RunFolder) -> str:
    splits = run.splits
    known = splits is not None and "patient" in splits
    return f"<p>{count(int(splits['patient'].nunique()), 'patient')}</p>" if splits is not None and known else ""


def _split(run: RunFolder, split: SplitCounts) -> str:
    purpose = PURPOSE.get(split.name, "")
    tested = str(run.test.get("split") or "test")
    if run.above is not None and split.name != tested:
        purpose = "not part of this test"
    patients = f"<p>{count(split.patients, 'patient')}</p>" if split.patients is not None else ""
    of_class = f'<p class="classes">{escape(split.positives)}</p>' if split.positives else ""
    why = f'<p class="purpose">{escape(purpose)}</p>' if purpose else ""
    return f"<b>{escape(split.name)}: {count(split.cases, 'image')}</b>{patients}{of_class}{why}"


def _box(content: str, kind: str = "") -> str:
    return f'<li class="{kind}">{_inner(content)}</li>'


def _inner(content: str) -> str:
    return f'<div class="box">{content}</div>'

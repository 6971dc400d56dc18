"""init: look at a table, say what it seems to hold, and write an experiment file that trains on it."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig
from rich.console import Console

from medtrain.command.new_experiment import is_at_home, place_of
from medtrain.core.errors import UsageError
from medtrain.data.rows.columns import find_columns
from medtrain.data.rows.paths import written_paths
from medtrain.io.cells import spellings
from medtrain.io.files import write_text
from medtrain.io.table import RawTable, read_table
from medtrain.target.label_lists import parts_of, separator_of
from medtrain.target.order import negative_first
from medtrain.target.quantity import refuse_quantities

FLAGS = frozenset(("0", "1", "-1", "0.0", "1.0", "-1.0", ""))


@dataclass
class Proposal:
    """A guess at what a table holds: the data node's keys to set, and what to tell of it."""

    data: dict[str, Any]
    facts: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def main(cfg: DictConfig) -> None:
    """Write `output` (by default ./medtrain_configs/experiment/NAME.yaml) and print the command."""
    table = cfg.data.get("table")
    if not table:
        raise UsageError("init needs data.table=FILE.csv")
    proposal = look_at(Path(table), cfg)
    output = place_of(cfg.output, str(table))
    write_text(output, as_yaml(Path(table).name, proposal))
    console = Console(highlight=False, soft_wrap=True)
    for fact in proposal.facts:
        console.print(fact, markup=False)
    for doubt in proposal.doubts:
        console.print(f"check: {doubt}", markup=False)
    words = [f"experiment={output.stem}"] if is_at_home(output) else ["data=image_table", *overrides(proposal.data)]
    console.print(
        f"wrote {output}; train with\n  medtrain {' '.join(shlex.quote(word) for word in words)}", markup=False
    )


def look_at(table: Path, cfg: DictConfig) -> Proposal:
    """Read the table and decide what its columns are.

    Raises:
        UsageError, DataError: there is no such table, or it names no images.
    """
    raw = read_table(table)
    named = {k: v for k, v in cfg.data.columns.items() if v is not None}
    columns = find_columns(raw, named, ("path",), lenient=True)
    proposal = Proposal({"table": str(table)})
    if cfg.data.get("root"):
        proposal.data["root"] = str(cfg.data.root)
    root = Path(str(cfg.data.root)).expanduser() if cfg.data.get("root") else table.parent
    path, patient = str(columns["path"]), columns["patient"]
    written, form = written_paths(raw.column(path), cfg.data, root)
    if form or cfg.data.get("path_format"):
        proposal.data["path_format"] = form or str(cfg.data.path_format)
    images = f"{len(raw.text):,} images in column '{path}'"
    if patient:
        number = len(set(raw.known_names(str(patient))) - {""})
        proposal.facts.append(f"{images}, {number:,} patients in column '{patient}'")
    elif raw.text[path].str.lower().str.endswith((".dcm", ".dicom")).all():
        proposal.facts.append(f"{images}, patients from their DICOM headers, under pseudonyms")
    else:
        proposal.facts.append(images)
        proposal.doubts.append(
            "no patient column: each file counts as a patient of its own; name one by data.columns.patient or "
            "data.patient_pattern if patients have several images"
        )
    roles = {role: name for role, name in columns.items() if name is not None and role != "label"}
    proposal.data["columns"] = roles
    _labels(raw, columns["label"], roles, proposal)
    missing = [name for name in written[:1000] if not (root / name).is_file()]
    if missing:
        proposal.doubts.append(
            f"{len(missing)} of the first {min(1000, len(raw.text))} files are not under {root} "
            f"(such as {missing[0]}); "
            "set data.root or data.path_format"
        )
    return proposal


def _labels(raw: RawTable, label: str | list[str] | None, roles: dict[str, Any], proposal: Proposal) -> None:
    """Decide on the label columns and the order of the classes."""
    if label is None:
        label = [c for c in raw.text.columns if c not in roles.values() and _is_flag(raw.text[c])]
        if not label:
            raise UsageError(f"{raw.file.name} has no label column that I know; name it by data.columns.label=NAME")
        proposal.doubts.append("the columns of 0 and 1 are taken for labels, one class each: remove those that aren't")
    columns = proposal.data["columns"]
    if not isinstance(label, str):
        columns["label"] = label[0] if len(label) == 1 else list(label)
        positives = ", ".join(f"{c} {int((raw.text[c].isin(['1', '1.0'])).sum()):,}" for c in label)
        proposal.facts.append(f"{'multilabel' if len(label) > 1 else 'binary'}: positives {positives}")
        return
    columns["label"] = label
    texts = pd.Series(raw.known_names(label), dtype=object)
    separator = separator_of(set(texts), label)
    if separator is not None:
        counts = texts[texts != ""].map(lambda text: parts_of(text, separator)).explode().value_counts()
        proposal.facts.append(f"multilabel, lists in column '{label}': {_told(counts)}")
        return
    refuse_quantities(texts.tolist(), label, raw.file.name)
    counts = texts[texts != ""].value_counts()
    if two := spellings(Counter(texts)):
        proposal.doubts.append(f"{two[0]} differ by case or blanks alone: data.merge_case=true joins them")
    kind = "binary" if len(counts) == 2 else "multiclass"
    proposal.facts.append(f"{kind} in column '{label}': {_told(counts)}")
    names = [str(name) for name in counts.index]
    if len(names) == 2 and set(names) != {"0", "1"}:
        order = negative_first(names)
        proposal.data["classes"] = order
        proposal.doubts.append(f"'{order[-1]}' is taken for the positive class (the last of data.classes)")


def _is_flag(column: pd.Series) -> bool:
    values = set(column.unique())
    return values <= FLAGS and bool(values & {"1", "1.0"})


def _told(counts: pd.Series) -> str:
    shown = ", ".join(f"{name} {n:,}" for name, n in counts.head(8).items())
    return shown + (f", ... ({len(counts)} classes)" if len(counts) > 8 else "")


def as_yaml(name: str, proposal: Proposal) -> str:
    """Write the experiment file's text."""
    doubts = "".join(f"# check: {doubt}\n" for doubt in proposal.doubts)
    body = yaml.safe_dump({"data": proposal.data}, sort_keys=False, allow_unicode=True)
    head = f"# @package _global_\n# {name}: {'; '.join(proposal.facts)}\n{doubts}"
    return f"{head}defaults:\n  - override /task: xray_cls\n  - override /data: image_table\n\n{body}"


def overrides(data: dict[str, Any]) -> list[str]:
    """Write the same as words of the command line."""
    words = []
    for key, value in data.items():
        if isinstance(value, dict):
            words += [w.replace("data.", f"data.{key}.", 1) for w in overrides(value)]
        else:
            words.append(
                f"data.{key}={value if not isinstance(value, list) else '[' + ','.join(map(str, value)) + ']'}"
            )
    return words

"""The model card of an export: what the run's files say of it, and what only its author can say, marked as such.

Headings are those of Hugging Face's model cards (Mitchell et al., Model cards for model reporting, FAT* 2019); items of
CLAIM 2024 and TRIPOD+AI stand by number, as in the report's checklist, and what the run doesn't know is left to fill.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.export.parity import agreement
from medtrain.report.checklist import TO_FILL, answers, filled
from medtrain.report.checklist_facts import Facts
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.words import cautions, entry, headline, label

FEW = 50  # training cases of a class below which it is named as rare
_PLACE = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.@ +-]+)+[/\\]([\w.@+-]+)")


def model_card(run: Path, facts: Mapping[str, Any], proof: Mapping[str, Any]) -> str:
    """Write the card, in Markdown.

    Args:
        run: the folder of the run.
        facts: model.json of the export.
        proof: its parity.json.
    """
    folder = read_folder(run)
    known = Facts(folder)
    parts = [
        _head(facts),
        _details(known, facts),
        _uses(folder, known),
        _start(facts, proof),
        _training(known),
        _evaluation(folder, known, facts),
        _items(folder),
    ]
    return _PLACE.sub(r"\1", "\n\n".join(parts)) + "\n"  # no path of the machine leaves it


def _head(facts: Mapping[str, Any]) -> str:
    library = "onnx" if facts["format"] == "onnx" else "torch"
    lines = [f"library_name: {library}", f"license: unknown # {TO_FILL}", f"tags: [medical-imaging, {facts['task']}]"]
    return "\n".join(["---", *lines, "---", "", f"# {facts['run']}"])


def _details(known: Facts, facts: Mapping[str, Any]) -> str:
    rows = {
        "Task": facts["task"],
        "Network": known.model(),
        "Weights before training": known.start(),
        "Licence of those weights": None if "model.weights" in (known.start() or "") else "none were used",
        "Made by": f"medtrain {facts['medtrain']}",
        "Checkpoint (SHA-256)": facts["checkpoint_sha256"],
        "Developed by": None,
    }
    return "## Model details\n\n" + _list(rows)


def _uses(folder: RunFolder, known: Facts) -> str:
    rows: dict[str, str | None] = {
        "Intended use": None,
        "Out of scope": "a diagnosis without a person who is responsible for it; nothing here is a medical device",
    }
    limits = ["the data are synthetic: nothing is known of real cases"] if folder.synthetic else []
    limits += [one.rstrip(".") for one in (*cautions(folder.test), *(folder.test.get("warnings") or ()))]
    limits += [f"{what}: no others were seen in training" for what in _seen(folder, known)]
    rare = {
        name: row.get("patients", 0)
        for name, row in ((folder.run.get("imbalance") or {}).get("train") or {}).items()
        if min(row.get("images", 0), row.get("negatives", FEW)) < FEW
    }
    if rare:
        limits.append("few cases in training: " + ", ".join(f"{name} ({n:,} patients)" for name, n in rare.items()))
    text = "\n".join(f"- {limit}" for limit in limits) or f"- {TO_FILL}"
    return f"## Uses\n\n{_list(rows)}\n\n## Bias, risks and limitations\n\n{text}"


def _seen(folder: RunFolder, known: Facts) -> Iterable[str]:
    """List what of the data bounds where the model may be used."""
    if prepared := known.preparation():
        yield f"inputs as {prepared}"
    if spacing := (folder.run.get("spec") or {}).get("spacing"):
        yield f"voxels of {' x '.join(f'{step:g}' for step in spacing)} mm"
    if folder.splits is not None and "site" in folder.splits:
        sites = sorted(set(folder.splits["site"].astype(str)) - {""})
        if sites:
            yield f"{len(sites)} site{'s' * (len(sites) > 1)} ({', '.join(sites[:10])})"


def _start(facts: Mapping[str, Any], proof: Mapping[str, Any]) -> str:
    agrees = f"On {proof['cases']} cases it predicts what the run does: {agreement(proof)} (parity.json)."
    return (
        "## How to get started\n\n```bash\npip install -r requirements.txt\npython predict.py INPUT OUTPUT\n```\n\n"
        f"INPUT is {facts['reads']}, a folder of them, or a CSV with a column of paths{_beside(facts)}; "
        f"OUTPUT {facts['writes']}. " + agrees
    )


def _beside(facts: Mapping[str, Any]) -> str:
    """Name the columns beside the input that the CSV should have."""
    names = [str(column["name"]) for column in facts["rows"].get("covariates") or ()]
    return (
        f" and the columns {', '.join(names)} (what is missing there, and all in a folder, counts as unknown)"
        * bool(names)
    )


def _training(known: Facts) -> str:
    rows = {
        "Data": known.data(),
        "Splits": known.partitions(),
        "Separation of splits": known.disjoint(),
        "Left out": known.excluded(),
        "Classes": known.balance(),
        "Procedure": known.training(),
        "Choice of the checkpoint": known.chosen(),
    }
    return "## Training details\n\n" + _list(rows)


def _evaluation(folder: RunFolder, known: Facts, facts: Mapping[str, Any]) -> str:
    results = folder.test.get("metrics") or {}
    rows = [(label(name), *entry(result)) for name, result in results.items()]
    decision = facts["decision"]
    limits = ", ".join(f"{name} from {limit:.4g} on" for name, limit in decision["thresholds"].items())
    listed: dict[str, str | None] = {
        "Test data": known.splits(),
        "Intervals": known.intervals(),
        "Decision": f"policy {decision['policy']}, fitted on {decision.get('basis', 'validation data')}"
        + (f": {limits}" if limits else f": {folder.target.words.decided}"),
        "Calibration": f"logits are divided by {decision['temperature']:.4g}, a temperature fitted on validation data"
        if decision["temperature"] != 1
        else "none: probabilities are the network's own",
        "Subgroups": ", ".join(folder.test.get("groups") or ()) or "none were judged (eval.groups)",
    }
    if names := [facts["target"]["classes"][number] for number in (facts.get("input") or {}).get("largest") or ()]:
        listed["Largest component"] = f"of {', '.join(names)} only the largest connected piece counts"
    return f"## Evaluation\n\n{_list(listed)}\n\n{_table(['Metric', 'Value', '95 % interval'], rows)}{_groups(folder)}"


def _groups(folder: RunFolder) -> str:
    """Write the headline metric of subgroups, a row a group."""
    rows, main = [], headline(folder.test.get("metrics") or {}) or "auroc"
    for column, groups in (folder.test.get("groups") or {}).items():
        for name, group in groups.items() if isinstance(groups, dict) else ():
            result = ((group or {}).get("metrics") or {}).get(main) if isinstance(group, dict) else None
            if result:
                rows.append((f"{column} = {name}", *entry(result)))
    return "\n\n" + _table(["Subgroup", label(main), "95 % interval"], rows) if rows else ""


def _items(folder: RunFolder) -> str:
    rows = []
    for item, answer in answers(folder):
        partly = "in part: " if answer is not None and not filled(item, answer) else ""
        rows.append((item.name, item.claim, item.tripod, partly + (answer or TO_FILL)))
    header = ["Item", "CLAIM", "TRIPOD+AI", "What the run knows"]
    return f"## Items of CLAIM 2024 and TRIPOD+AI\n\n{_table(header, rows)}"


def _list(rows: Mapping[str, str | None]) -> str:
    return "\n".join(f"- **{name}:** {text or TO_FILL}" for name, text in rows.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells)

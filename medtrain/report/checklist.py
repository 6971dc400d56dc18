"""The checklist of what a paper on this run must report, filled in where the run folder knows it.

Items are those of CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024;6:e240300) and TRIPOD+AI
(Collins et al., BMJ 2024;385:e078378), by number; their names here are our own short ones. An answer comes from the
run's files only: what a tool can't know is the author's to fill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from medtrain.report.counts import counted, counts_by_split
from medtrain.report.facts import facts
from medtrain.report.flow import excluded_of, external
from medtrain.report.folder import RunFolder
from medtrain.report.groups import sizes_of_groups
from medtrain.report.metrics import decision_text
from medtrain.report.views import Cell, Note, Section, part, section, table, texts
from medtrain.report.words import count, label, one_line

TO_FILL = "author to fill"


class Item(NamedTuple):
    """A thing to report: the numbers it has in both lists, and who answers it."""

    name: str
    claim: str
    tripod: str
    answer: Callable[[Facts], str | None] | None = None


class Facts:
    """Answers from the run folder, in the checklist's words; an answer of None leaves the item to the author."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        trained = run.above or run
        try:
            loaded = yaml.safe_load(trained.config)
        except yaml.YAMLError:
            loaded = None
        self.config: dict[str, Any] = loaded if isinstance(loaded, dict) else {}

    def get(self, path: str) -> Any:
        """Read a key of the configuration, such as ``data.leakage``; None where it isn't there."""
        node: Any = self.config
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def keys(self, *paths: str) -> str | None:
        """Write the configuration's values as people would set them."""
        values = [(path, self.get(path)) for path in paths]
        return (
            "; ".join(f"{path}={one_line(value)}" for path, value in values if value not in (None, [], {}, "")) or None
        )

    def fact(self, name: str) -> str | None:
        return dict(facts(self.run)).get(name)

    def splits(self) -> str | None:
        parts = [
            f"{s.name} {counted(self.run, s.cases)} ({count(s.patients, 'patient')})" for s in counts_by_split(self.run)
        ]
        return "; ".join(parts) or None

    def excluded(self) -> str | None:
        if self.run.run.get("excluded") is None:
            return None
        return "; ".join(f"{n:,} {reason}" for reason, n in excluded_of(self.run)) or "nothing was left out"

    def data(self) -> str | None:
        name = self.run.name("data")
        return f"data={name} (synthetic)" if name and self.run.synthetic else None

    def preparation(self) -> str | None:
        return self.keys("data.image_size", "data.channels", "data.fit", "data.window", "data.mean", "data.std")

    def missing(self) -> str | None:
        return self.keys("data.on_bad", "data.uncertain", "data.blank")

    def disjoint(self) -> str | None:
        if self.run.splits is None or "patient" not in self.run.splits:
            return None
        parts = self.run.splits.groupby("patient")["split"].nunique()
        shared = int((parts > 1).sum())
        overlap = "no patient stands in two splits" if not shared else f"{count(shared, 'patient')} in several splits"
        return f"by {self.get('data.split_by') or 'patient'}: {overlap}"

    def outputs(self) -> str | None:
        spec = self.run.run.get("spec") or {}
        if not spec.get("classes"):
            return None
        return f"{spec.get('label_kind')}; a probability for each of: {', '.join(map(str, spec['classes']))}"

    def model(self) -> str | None:
        name = (self.run.above or self.run).name("model")
        target = self.get("model._target_")
        return f"{name} ({target})" if name and target else name or None

    def start(self) -> str | None:
        return self.keys("model.weights", "init_from", "seed")

    def training(self) -> str | None:
        return self.keys(
            "loss._target_", "sampler._target_", "augment._target_", "optimizer._target_", "optimizer.lr",
            "optimizer.weight_decay", "scheduler._target_", "trainer.max_epochs", "trainer.precision",
            "data.batch_size",
        )  # fmt: skip

    def chosen(self) -> str | None:
        for name, node in (self.get("callbacks") or {}).items():
            if isinstance(node, dict) and name == "best" and node.get("monitor"):
                return f"the epoch with the best {node['monitor']} ({node.get('mode') or 'max'}), on validation data"
        return None

    def balance(self) -> str | None:
        rows = (((self.run.above or self.run).run.get("imbalance") or {}).get("train") or {}).items()
        shares = ", ".join(f"{name} {row['percent']} %" for name, row in rows)
        how = self.keys("loss._target_", "sampler._target_")
        return "; ".join(part for part in (shares and f"training split: {shares}", how) if part) or None

    def metrics(self) -> str | None:
        return ", ".join(label(name) for name in self.run.test.get("metrics") or {}) or None

    def intervals(self) -> str | None:
        if not self.run.test:
            return None
        n = self.get("eval.bootstrap")
        return f"95 % intervals by bootstrap over patients{f', {n:,} replicates' if isinstance(n, int) else ''}"

    def decision(self) -> str | None:
        return decision_text(self.run)[0] if self.run.test.get("decision") else None

    def groups(self) -> str | None:
        sizes = sizes_of_groups(self.run)
        return f"subgroups: {sizes}" if sizes else None

    def internal(self) -> str | None:
        if not self.run.test or external(self.run):
            return None
        times = self.fact("Times tested")
        return f"on the {self.run.test.get('split')} split" + (f"; test split used {times} time(s)" if times else "")

    def elsewhere(self) -> str | None:
        return f"data={self.run.name('data')}, with the decision of the training run" if external(self.run) else None

    def results(self) -> str | None:
        return "see Metrics, By class, Figures" if self.run.test.get("metrics") else None

    def failures(self) -> str | None:
        return "see Worst mistakes and the confusion figure" if self.run.failures is not None else None

    def software(self) -> str | None:
        return "; ".join(part for part in map(self.fact, ("Versions", "Code", "Device")) if part) or None

    def full_model(self) -> str | None:
        return "config.yaml, checkpoints/best.ckpt and decision.json of the run folder" if self.config else None

    def ensemble(self) -> str | None:
        by = (self.run.test.get("abstention") or {}).get("by")
        return "an ensemble of runs" if by == "ensemble" else "one network" if self.model() else None


ITEMS = (
    Item("Title names the method", "1", "1"),
    Item("Structured abstract", "2", "2"),
    Item("Clinical background and role", "3", "3a, 3b"),
    Item("Known inequalities between groups", "", "3c"),
    Item("Aims", "4", "4"),
    Item("Prospective or retrospective", "5", ""),
    Item("Goal of the study", "6", ""),
    Item("Where the data come from", "7", "5a", Facts.data),
    Item("Dates of the data", "", "5b"),
    Item("Setting and centres", "", "6a"),
    Item("Who was eligible; what was left out", "8", "6b", Facts.excluded),
    Item("Treatments received", "", "6c"),
    Item("Preparation of the data", "9", "7", Facts.preparation),
    Item("Selection within the data", "10", "", lambda facts: facts.keys("data.filter")),
    Item("De-identification", "11", ""),
    Item("Missing data", "12", "11", Facts.missing),
    Item("Acquisition of the images", "13", ""),
    Item("Reference standard and outcome", "14", "8a", Facts.outputs),
    Item("Why this reference standard", "15", ""),
    Item("Who annotated, and how qualified", "16", "8b"),
    Item("Annotation of the test set, blinding", "17", "8c"),
    Item("Agreement of the annotators", "18", ""),
    Item("Choice of predictors", "", "9a"),
    Item("Definition of predictors", "", "9b", Facts.preparation),
    Item("Who assessed predictors", "", "9c"),
    Item("Partitions and their sizes", "19", "12a", Facts.splits),
    Item("Level at which partitions are disjoint", "20", "", Facts.disjoint),
    Item("Sample size, and why", "21", "10"),
    Item("The model: inputs, layers, outputs", "22", "12c", Facts.model),
    Item("Handling of predictors", "", "12b", Facts.preparation),
    Item("Software and hardware", "23", "", Facts.software),
    Item("Initial weights", "24", "", Facts.start),
    Item("Training: augmentation, hyperparameters", "25", "", Facts.training),
    Item("Choice of the final model", "26", "", Facts.chosen),
    Item("Ensembles", "27", "", Facts.ensemble),
    Item("Differences between clusters", "", "12d", Facts.groups),
    Item("Measures of performance", "28", "12e", Facts.metrics),
    Item("Uncertainty and significance", "29", "", Facts.intervals),
    Item("Robustness", "30", ""),
    Item("Explanations of predictions", "31", ""),
    Item("Updating of the model", "", "12f"),
    Item("How test predictions were made", "", "12g", Facts.decision),
    Item("Unequal classes", "", "13", Facts.balance),
    Item("Fairness", "", "14", Facts.groups),
    Item("The output, and its thresholds", "", "15", Facts.decision),
    Item("Internal test", "32", "", Facts.internal),
    Item("External test; how it differs from training", "33", "16", Facts.elsewhere),
    Item("Trial registration", "34", "18d"),
    Item("Ethical approval", "", "17"),
    Item("Flow of participants", "35", "20a", lambda facts: "see Data" if facts.splits() else None),
    Item("Characteristics in each partition", "36", "20b"),
    Item("Training and test compared", "", "20c", Facts.splits),
    Item("Cases and events in each analysis", "", "21", Facts.splits),
    Item("The full model", "", "22", Facts.full_model),
    Item("Performance with its uncertainty", "37, 38", "23a", Facts.results),
    Item("Performance by cluster", "", "23b", Facts.groups),
    Item("Results of updating", "", "24"),
    Item("Failure analysis", "39", "", Facts.failures),
    Item("Limitations", "40", "26"),
    Item("Interpretation and implications", "41", "25"),
    Item("Poor or missing inputs in use", "", "27a"),
    Item("Users, and their skill", "", "27b"),
    Item("Next steps", "", "27c"),
    Item("Protocol", "42", "18c"),
    Item("Availability of data", "43", "18e"),
    Item("Availability of code and model", "43", "18f", Facts.software),
    Item("Funding", "44", "18a"),
    Item("Conflicts of interest", "44", "18b"),
    Item("Patients and public involved", "", "19"),
)


def answers(run: RunFolder) -> list[tuple[Item, str | None]]:
    """Pair each item with what the run folder knows of it."""
    known = Facts(run)
    return [(item, item.answer(known) if item.answer else None) for item in ITEMS]


@section()
def checklist(run: RunFolder) -> Section | None:
    """Draw the list, as a part of the page that opens on demand."""
    listed = answers(run)
    filled = sum(answer is not None for _, answer in listed)
    rows = [
        (item.name, [*texts(item.claim, item.tripod), Cell(answer or TO_FILL, number=False, missing=not answer)])
        for item, answer in listed
    ]
    text = (
        "Item numbers of CLAIM 2024 (imaging AI) and TRIPOD+AI (prediction models), with our own short names; the "
        "lists themselves say what each asks for. An answer here comes from the run's files and is a start, not "
        "the whole of the item."
    )
    items = table(["Item", "CLAIM", "TRIPOD+AI", "What the run knows"], rows, "check", "Reporting checklist")
    heading = f"Reporting checklist: {filled} of {len(listed)} items filled"
    return part("checklist", heading, Note(text), items, link="Checklist", folded=True)

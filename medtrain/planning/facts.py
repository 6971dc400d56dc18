"""What rules choose by: numbers measured on the data, and what the machine has. Nothing here is a guess."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrain.core.cores import cores
from medtrain.core.errors import UsageError
from medtrain.core.words import first_few
from medtrain.inspection import Inspection
from medtrain.report.words import count
from medtrain.target import Target

MOST_CLASSES = 8  # that a line counts

Counts = Mapping[str, Mapping[str, Any]]  # {class: images, patients, negatives, factor}


@dataclass(frozen=True)
class Machine:
    """What there is to train on.

    Args:
        cores: that this process may use.
        memory_gb: of the machine.
        gpu: name of the first GPU, None without one; `gpu_gb` its memory.
        half: the GPU computes in bfloat16.
        processes: that train together, one a device; each takes batches of its own.
    """

    cores: int
    memory_gb: float
    gpu: str | None = None
    gpu_gb: float = 0.0
    half: bool = False
    processes: int = 1

    @property
    def words(self) -> str:
        """Say what it is in a few words."""
        if not self.gpu:
            return f"{count(self.cores, 'core')}, no GPU"
        return f"{self.processes} x " * (self.processes > 1) + f"{self.gpu} ({self.gpu_gb:.0f} GB)"


@dataclass(frozen=True)
class Facts:
    """Data and machine in numbers.

    Args:
        noun: what people call the cases.
        target: the kind of what is predicted; `unit` what a quantity is in, `loss` the option that it has by default.
        cases, patients: of each split: {split: number}.
        classes: {split: counts of each class}; {} without classes, as of quantities and times.
        events: the same of the event, of times to it; else {}.
        thresholds: what is predicted is decided by thresholds that a policy can fit.
        official: the data say themselves which case is in which split.
        own_folds: what `data.fold` may be by the data's own fold column; empty without.
        one_class: a case has one class at most, so that a batch can hold all classes.
        size: the median side along H, W in pixels, or D, H, W in voxels; empty without.
        spacing: the median in mm along D, H, W; empty without.
        least_extent: in mm along D, H, W, that all volumes have; `usual_extent` that nine in ten don't exceed; empty
            without.
        grey: the Hounsfield units between which all but one in a hundred voxels lie; empty where values are others.
        coloured: the files of pictures whose channels differ, as a share.
        giveaways: what tells the classes apart without the picture, and how well: ``the extent along D alone ...``.
        boxes: (N, 2) widths and heights of the boxes, in pixels of the files.
        instances: smallest, median and largest bag; empty without.
        features: of an instance.
        sites: how many there are, 0 where nobody says; `by_site` tells that each is tested in turn,
            `between_sites` that patients have several.
        with_boxes: training images that show a lesion.
        batch, patch: cases, and voxels along D, H, W, where the person has set them; 0 and empty else.
        encoded: a frozen network makes features of the cases, from which is learned.
        spaced, centred: the person has set the spacing; where in a volume to look.
        simple_features: how many numbers stand for a tile of a real slide, where these are colour and texture alone.
        weights: option values of `model.weights` that lie on this machine: {model: value}.
        fold: which of how many these are of, in words, where folds are trained; `one_split` the facts of the one split
            that these folds are planned in place of; `hurry` why there is no time for folds.
        machine: what there is to train on.
    """

    noun: str
    cases: Mapping[str, int]
    patients: Mapping[str, int]
    classes: Mapping[str, Counts]
    machine: Machine
    target: str = ""
    unit: str = ""
    loss: str = ""
    events: Mapping[str, Counts] = field(default_factory=dict)
    official: bool = False
    own_folds: Sequence[int] = ()
    one_class: bool = True
    thresholds: bool = True
    size: Sequence[float] = ()
    spacing: Sequence[float] = ()
    least_extent: Sequence[float] = ()
    usual_extent: Sequence[float] = ()
    giveaways: Sequence[str] = ()
    boxes: Sequence[Sequence[float]] = ()
    instances: Sequence[float] = ()
    features: int = 0
    grey: Sequence[float] = ()
    coloured: float = 0.0
    sites: int = 0
    by_site: bool = False
    between_sites: bool = False
    with_boxes: int = 0
    batch: int = 0
    patch: Sequence[int] = ()
    encoded: bool = False
    spaced: bool = False
    centred: bool = False
    simple_features: int = 0
    weights: Mapping[str, str] = field(default_factory=dict)
    fold: str = ""
    one_split: Facts | None = None
    hurry: str = ""

    @property
    def train(self) -> int:
        """Count the cases of the training split."""
        return self.cases.get("train", 0)

    @property
    def factor(self) -> float:
        """Give the greatest factor of a class of the training split: how many others come on one of it."""
        return max((row["factor"] or 0.0 for row in self.classes.get("train", {}).values()), default=0.0)

    @property
    def unequal(self) -> str:
        """Say how unequal the classes of the training split are: what `factor` is of."""
        rows = self.classes.get("train", {})
        name = max(rows, key=lambda name: rows[name]["factor"] or 0.0, default="")
        times = f"{self.factor:,.1f}".removesuffix(".0")
        if not self.one_class:
            return f"one answer to {self.called(name)} is {times} times as common as the other"
        if self.exclusive_pair:
            return f"{times} others come on one case of {self.called(name)}"
        return f"the commonest class has {times} times the cases of {self.called(name)}"

    @property
    def content(self) -> str:
        """Say what the cases are: volumes, images with boxes."""
        return self.noun + {"boxes": " with boxes", "mask": " with masks"}.get(self.target, "")

    @property
    def exclusive_pair(self) -> bool:
        """Tell whether a case has one of two classes, so that a result rests on the rarer one."""
        return self.one_class and 0 < len(self.with_class(*self.cases)) <= 2 and not self.events and not len(self.boxes)

    def called(self, name: str) -> str:
        """Write a class in a sentence: pneumonia, but class 3."""
        return f"class {name}" if name[:1].isdigit() else name

    @property
    def events_to_learn(self) -> int:
        """Count the patients with the event in the training split, of times to it."""
        return sum(int(row["patients"]) for row in self.events.get("train", {}).values())

    @property
    def splits(self) -> str:
        """Write what is in each split: train 700, val 100, test 200."""
        shown = ", ".join(f"{name} {n:,}" for name, n in self.cases.items())
        return f"{self.fold}: {shown}" if self.fold else shown

    @property
    def words(self) -> str:
        """Say in a line what the data are: cases, patients, splits, what is predicted, the classes' cases."""
        of = f" of {sum(self.patients.values()):,} patients" * (self.people == "patients")
        text = f"{sum(self.cases.values()):,} {self.noun}{of} ({self.splits})"
        numbers: dict[str, int] = {}
        for rows in (self.classes or self.events).values():
            for name, row in rows.items():
                numbers[name] = numbers.get(name, 0) + int(row["images"])
        shown = first_few([f"{name} {n:,}" for name, n in numbers.items()], MOST_CLASSES)
        what = f"{self.target}, {self.noun} that show them" if len(self.boxes) else self.target
        return f"{text}; {what}" + (f": {shown}" if numbers else "")

    @property
    def people(self) -> str:
        """Name what is counted as independent: patients, or the cases where each is a patient of its own."""
        return "patients" if sum(self.patients.values()) < sum(self.cases.values()) else self.noun

    @property
    def trained(self) -> str:
        """Write how many cases train: 700 volumes."""
        return self.in_words("train")

    def in_words(self, split: str) -> str:
        """Write the number of a split's cases: 1 image, 700 volumes."""
        return count(self.cases.get(split, 0), self.noun.removesuffix("s"))

    def number(self, people: int) -> str:
        """Write a number of `people`: 1 patient, 20 films."""
        return count(people, self.people.removesuffix("s"))

    @property
    def volumes(self) -> bool:
        """Tell whether cases have a depth."""
        return len(self.size) == 3

    def rarest(self, *splits: str, least: int = 0) -> tuple[str, int]:
        """Give the class (or the event) with the fewest patients in some splits, and their number; '' without any.

        Args:
            least: patients of a class in all splits, below which it doesn't count.
        """
        whole, numbers = self.with_class(*self.cases), self.with_class(*splits)
        counted = [(name, n) for name, n in numbers.items() if whole[name] >= least]
        return min(counted, key=lambda pair: pair[1], default=("", 0))

    def with_class(self, *splits: str) -> dict[str, int]:
        """Count the patients of each class (or with the event) in some splits."""
        rows = [row for split in splits for row in (self.classes or self.events).get(split, {}).items()]
        return {name: sum(int(row["patients"]) for own, row in rows if own == name) for name in dict(rows)}


def facts_of(inspection: Inspection, by_split: Mapping[str, Counts], noun: str, machine: Machine, **more: Any) -> Facts:
    """Collect what an inspection has measured.

    Args:
        by_split: `medtrain.report.imbalance` of its rows.
        more: of `Facts`, what an inspection doesn't know.
    """
    used = inspection.cases.iloc[inspection.used]
    images, spec = inspection.images, inspection.spec
    of_volumes = images.get("in_space", {})  # what people call sizes lies along the files' own axes
    instances = images.get("instances", {})
    truth = inspection.truth
    sides = () if truth is None else (truth.boxes_M4[:, 2:] - truth.boxes_M4[:, :2]).tolist()
    training = np.flatnonzero(inspection.cases["split"].to_numpy() == "train")
    shown = 0 if truth is None else int(np.isin(training, truth.case_M).sum())
    return Facts(
        noun=noun,
        cases={name: int((used["split"] == name).sum()) for name in inspection.splits},
        patients={name: int(used["patient"][used["split"] == name].nunique()) for name in inspection.splits},
        classes=by_split if spec is not None and spec.target.forms & {"probabilities", "boxes"} else {},
        events=by_split if spec is not None and "times" in spec.target.forms else {},
        machine=machine,
        target="" if spec is None else spec.target.kind,
        unit=str(getattr(spec.target, "unit", "") or "") if spec is not None else "",
        loss=str(getattr(spec.target, "usual_loss", "")) if spec is not None else "",
        one_class=spec is None or not spec.target.several,
        thresholds=spec is not None and takes_policy(spec.target, "youden"),
        size=of_volumes.get("voxels") or images.get("size", {}).get("median", ()),
        spacing=of_volumes.get("spacing_mm", ()),
        least_extent=of_volumes.get("least_extent_mm", ()),
        usual_extent=of_volumes.get("usual_extent_mm", ()),
        giveaways=[f.problem.detail.partition(":")[0] for f in inspection.findings if f.problem.kind == "shortcut"],
        boxes=sides,
        with_boxes=shown,
        instances=[instances[name] for name in ("smallest", "median", "largest")] if instances else (),
        features=int(np.prod(images.get("instance", [0]))) if instances else 0,
        grey=images.get("hounsfield", ()),
        coloured=float(images.get("coloured", 0.0)),
        **more,
    )


def takes_policy(target: Target, policy: str) -> bool:
    """Tell whether `eval.threshold` may be this policy for what is predicted."""
    try:
        target.check_policy(policy)
    except UsageError:
        return False
    return True


def measured_machine(gpu: str | None, gpu_gb: float, half: bool, processes: int) -> Machine:
    """Measure this machine; what it has as a GPU says torch."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(cores(), memory, gpu, gpu_gb, half, processes)

"""Decision: how probabilities or scores become predictions, fitted on validation data and kept with the weights.

A threshold chosen on test data flatters the model, and one that belongs to another checkpoint means nothing. So
temperature and thresholds are fitted once, on validation data, and stored with the SHA-256 of the checkpoint they
belong to.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.io.files import read_json_map, sha256, write_json
from medtrain.metric.thresholds import NEVER
from medtrain.target.base import Policy, Target
from medtrain.target.reached import misread

COLDEST = 1e-6  # temperature
EARLIER = "no limits for them were fitted with its decision, which is of an earlier version: train it again"


@dataclass(frozen=True)
class Decision:
    """Say how probabilities become predictions.

    Args:
        policy: what was asked for (`eval.threshold`).
        temperature: the logits are divided by it.
        thresholds: {class: positive at this probability, or shown at this score, or above}, in the order of the
            classes that the target decides by thresholds.
        sets: {class: the probability from which on it belongs to a case's prediction set}; {} where none were fitted.
        absent: likewise of a case's not having the class, where it may have any number of them; else {}.
        no_sets: why there are no sets, where there are none.
        components: {class: the mean Dice on validation of "all" that is predicted of it, and of its "largest" connected
            component alone}, of masks where that is decided; else {}.
        baseline: {time: cumulative hazard of a case of risk 0}, where chances of survival are made of risks; else {}.
        warnings: what makes it mean less than it says, in a sentence each.
        basis: what the thresholds were fitted on, in words.
        validation: what they reach there, as `medtrain.target.reached` gives it; {} where it is not known.
    """

    policy: Policy = 0.5
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    basis: str = "validation data"
    validation: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, float] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    no_sets: str = ""
    warnings: list[str] = field(default_factory=list)
    baseline: dict[str, float] = field(default_factory=dict)
    components: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def largest(self) -> tuple[str, ...]:
        """Name the classes of which only the largest component counts: those that were better so."""
        return tuple(name for name, dice in self.components.items() if dice["largest"] > dice["all"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Decision:
        thresholds = _numbers(plain["thresholds"])
        sets, absent = (_numbers(plain.get(key) or {}) for key in ("sets", "absent"))
        facts = _text(plain.get("basis", cls.basis)), dict(plain.get("validation") or {}), sets, absent
        warnings = plain.get("warnings") or []
        if not isinstance(warnings, list):
            raise TypeError(f"{warnings!r} is no list of warnings")
        words = _text(plain.get("no_sets", EARLIER)), [_text(text) for text in warnings]
        baseline = _numbers(plain.get("baseline") or {})
        baseline = {time: baseline[time] for time in sorted(baseline, key=float)}  # JSON's maps have no order
        components = {str(name): _numbers(dice) for name, dice in dict(plain.get("components") or {}).items()}
        if any(dice.keys() != {"all", "largest"} for dice in components.values()):
            raise TypeError(f"{components!r} does not say what all and the largest component are worth")
        return cls(plain["policy"], _number(plain["temperature"]), thresholds, *facts, *words, baseline, components)

    def save(self, path: str | os.PathLike[str], checkpoint_sha256: str, **facts: Any) -> None:
        """Write JSON with the SHA-256 of the checkpoint this decision belongs to, and `facts` for people."""
        write_json(path, self.to_dict() | {"checkpoint_sha256": checkpoint_sha256} | facts)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], checkpoint: str | os.PathLike[str], target: Target | None = None
    ) -> Decision:
        """Read what `save` wrote.

        Args:
            target: what is decided; None: whether the decision fits it is not checked.

        Raises:
            MedtrainError: unreadable, no decision that there can be, or fitted for another checkpoint than the file
                `checkpoint`.
        """
        try:
            plain = read_json_map(path)
            belongs, decision = plain["checkpoint_sha256"], cls.from_dict(plain)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MedtrainError(f"{path}: no readable decision ({type(error).__name__}: {error})") from error
        actual = sha256(checkpoint)
        if actual != belongs:
            raise MedtrainError(
                f"{path} was fitted for another checkpoint: it names SHA-256 {belongs[:12]}..., "
                f"{Path(checkpoint).name} has {actual[:12]}.... Thresholds and temperature of one model mean nothing "
                "for another: put the checkpoint that they belong to back, or train again."
            )
        if fault := decision.fault() or (decision.misfit(target) if target else ""):
            raise MedtrainError(f"{path}: {fault}. Put the file back as it was written, or train again.")
        if target is None:
            return decision
        return replace(decision, thresholds={name: decision.thresholds[name] for name in target.thresholded})

    def fault(self) -> str:
        """Say why this can't decide anything, empty where it can."""
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            return f"temperature {self.temperature:g} is no positive number; logits are divided by it"
        if not COLDEST <= self.temperature <= 1 / COLDEST:
            return f"temperature {self.temperature:g} leaves no probability but 0, 1 or 0.5; logits are divided by it"
        limits = {"threshold": self.thresholds, "prediction set's limit": self.sets, "limit of absence": self.absent}
        for what, values in limits.items():
            for name, limit in values.items():
                if not 0 <= limit <= NEVER:
                    return f"the {what} of {name} is {limit:g}, not between 0 and 1"
        hazards = list(self.baseline.values())
        if not all(math.isfinite(value) for value in (*map(float, self.baseline), *hazards)):
            return "its baseline has a time or a hazard that is no finite number"
        if any(later < earlier for earlier, later in pairwise([0.0, *hazards])):
            return "its baseline's cumulative hazard falls with time, or is below 0"
        return ""

    def misfit(self, target: Target) -> str:
        """Say why this is no decision on such a target, empty where it is."""
        try:
            target.check_policy(self.policy)
        except UsageError as error:
            return f"its policy is none: {error}"
        wanted = {"thresholds": target.thresholded}
        wanted |= {"limits of prediction sets": target.classes} if self.sets else {}
        wanted |= {"limits of absence": target.classes if target.several else ()} if self.absent else {}
        given = {
            "thresholds": self.thresholds,
            "limits of prediction sets": self.sets,
            "limits of absence": self.absent,
        }
        for what, classes in wanted.items():
            if set(classes) != set(given[what]):
                texts = (", ".join(names) or "nothing" for names in (given[what], classes))
                return "it has {what} of {}; this run decides by {what} of {}".format(*texts, what=what)
        if target.based and not self.baseline:
            return "it has no baseline hazard, by which risks become chances of no event"
        if strange := sorted(set(self.validation) - set(target.thresholded)):
            return f"its validation names {strange[0]!r}, which is not decided by a threshold"
        return misread(self.validation)


def _numbers(plain: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value) for name, value in plain.items()}


def _number(value: Any) -> float:
    """Take a number of JSON, and nothing that could be turned into one (TypeError)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value

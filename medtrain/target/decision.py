"""Decision: how probabilities or scores become predictions, fitted on validation data and kept with the weights.

A threshold chosen on test data flatters the model, and one that belongs to another checkpoint means nothing. So
temperature and thresholds are fitted once, on validation data, and stored with the SHA-256 of the checkpoint they
belong to.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medtrain.core.errors import MedtrainError
from medtrain.io.files import read_json_map, sha256, write_json
from medtrain.metric.thresholds import NEVER
from medtrain.target.base import Policy


@dataclass(frozen=True)
class Decision:
    """Say how probabilities become predictions.

    Args:
        policy: what was asked for (`eval.threshold`).
        temperature: the logits are divided by it.
        thresholds: {class: positive at this probability, or shown at this score, or above}, in the order of the
            classes that the target decides by thresholds.
        sets: {class: the probability from which on it belongs to a case's prediction set}; {} where none were fitted.
        basis: what the thresholds were fitted on, in words.
        validation: what they reach there, as `medtrain.target.reached` gives it; {} where it is not known.
    """

    policy: Policy = 0.5
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    basis: str = "validation data"
    validation: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Decision:
        thresholds = {name: float(limit) for name, limit in plain["thresholds"].items()}
        sets = {name: float(limit) for name, limit in (plain.get("sets") or {}).items()}
        facts = plain.get("basis", cls.basis), dict(plain.get("validation") or {}), sets
        return cls(plain["policy"], float(plain["temperature"]), thresholds, *facts)

    def save(self, path: str | os.PathLike[str], checkpoint_sha256: str, **facts: Any) -> None:
        """Write JSON with the SHA-256 of the checkpoint this decision belongs to, and `facts` for people."""
        write_json(path, self.to_dict() | {"checkpoint_sha256": checkpoint_sha256} | facts)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], checkpoint: str | os.PathLike[str], classes: Sequence[str] | None = None
    ) -> Decision:
        """Read what `save` wrote.

        Args:
            classes: that are decided by a threshold each, in order; None: not checked.

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
        if fault := decision.fault(classes):
            raise MedtrainError(f"{path}: {fault}. Put the file back as it was written, or train again.")
        if classes is None:
            return decision
        return replace(decision, thresholds={name: decision.thresholds[name] for name in classes})

    def fault(self, classes: Sequence[str] | None = None) -> str:
        """Say why this can't decide anything, empty where it can."""
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            return f"temperature {self.temperature:g} is no positive number; logits are divided by it"
        for name, limit in self.thresholds.items():
            if not 0 <= limit <= NEVER:
                return f"the threshold of {name} is {limit:g}, not between 0 and 1"
        if classes is not None and set(classes) != set(self.thresholds):
            given, wanted = (", ".join(names) or "nothing" for names in (self.thresholds, classes))
            return f"it has thresholds of {given}; this run decides by thresholds of {wanted}"
        return ""

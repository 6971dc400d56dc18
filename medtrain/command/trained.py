"""A trained run, opened again: configuration, spec, weights, decision, and what may not change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain.callbacks.checkpoint import load, network_weights
from medtrain.command import build
from medtrain.config import strangers
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.io import record
from medtrain.model.numbers import refuse_numbers
from medtrain.target import DataSpec, Decision
from medtrain.task.base import Task


@dataclass
class Trained:
    """A finished run as test and predict need it.

    Args:
        members: the model node and spec of each member where the run is an ensemble.
    """

    folder: Path
    spec: DataSpec
    decision: Decision
    state: dict[str, Any]
    members: list[build.Node] | None = None

    def task(self, cfg: DictConfig) -> Task:
        """Build the task with the run's best weights, ready to evaluate."""
        task = build.task(cfg, self.spec, training=False, members=self.members)
        try:
            task.load_state_dict(self.state)
        except RuntimeError as error:
            first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
            raise MedtrainError(f"{self.folder}: the checkpoint is not of this model: {first[:200]}") from error
        own = task.state_dict()
        try:
            refuse_numbers(type(task.model).__name__, {k: v for k, v in self.state.items() if k in own}, own)
        except MedtrainError as error:
            raise MedtrainError(f"{self.folder / 'checkpoints' / 'best.ckpt'}: {error}") from error
        task.decision = self.decision
        return task


def open_run(run: str | None) -> Trained:
    """Open a trained run.

    Raises:
        UsageError: no run, or one that isn't finished.
        MedtrainError: a damaged run, or a decision that belongs to another checkpoint.
    """
    if run is None:
        raise UsageError("run=DIR is needed: the folder of a finished training, such as outputs/xray_cls/...")
    folder = Path(run)
    best = folder / "checkpoints" / "best.ckpt"
    if not best.is_file() or not (folder / "decision.json").is_file():
        state = record.status(record.look(folder))
        missing = best.relative_to(folder) if not best.is_file() else "decision.json"
        advice = "it was removed" if state == "finished" else f"medtrain resume={folder} goes on with it"
        raise UsageError(f"run={folder}: it has no {missing} (status: {state}); {advice}")
    checkpoint = load(best)
    facts = checkpoint.get("medtrain")
    if not isinstance(facts, dict) or "spec" not in facts:
        raise MedtrainError(f"{best}: not a checkpoint of medtrain (it says nothing of its data)")
    members = facts.get("members")
    nodes = {"model": {str(n): node for n, node in enumerate(members)}} if isinstance(members, list) else {}
    strangers.refuse_addresses(nodes, best, {}, training=False)
    spec = DataSpec.from_dict(facts["spec"])
    decision = Decision.load(folder / "decision.json", best, spec.target)
    specs = [DataSpec.from_dict(own) for own in facts.get("member_specs") or [facts["spec"]] * len(members or ())]
    pairs = list(zip(members, specs, strict=True)) if isinstance(members, list) else None
    return Trained(folder, spec, decision, network_weights(checkpoint["state_dict"]), pairs)

"""What a search is to do, read from its keys and checked before the first trial; and what a trial's run came to."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import space
from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.core.words import suggest
from medtrain.io import closed, record
from medtrain.io.study import PRUNERS, WHO

KEY = "hydra.sweeper"
DEFAULT = "default"  # the run of what is not searched
MODES = ("max", "min")
COSTS = ("wall_time_s",)  # of run.json, which may be objectives beside what validation says


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Args:
        state: finished, pruned, or failed, which anything else is too.
        values: of the objectives, where it is finished.
        reason: why it is not.
    """

    state: str
    values: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What a search is to do.

    Args:
        folder: of the search.
        fixed: the words that all trials share.
        dimensions: the space.
        objectives: (metric, max or min) each.
        epochs: the most that a trial has, where the configuration says so.
        val_afters: the parts that validate in turn, by how many after the tested one they come; none where each trial
            is one run.
    """

    folder: Path
    fixed: Sequence[str]
    dimensions: Sequence[space.Dimension]
    objectives: Sequence[tuple[str, str]]
    n_trials: int
    timeout: float | None
    sampler: str
    seed: int
    parallel: int
    pruner: str
    epochs: int | None
    val_afters: Sequence[int] = ()

    @property
    def modes(self) -> list[str]:
        return [mode for _, mode in self.objectives]

    @property
    def closed(self) -> Path:
        """The file that says what the test split is; the first run writes it."""
        return self.parts(DEFAULT)[0][0] / closed.FILE

    def parts(self, trial: int | str) -> list[tuple[Path, list[str]]]:
        """List the folder and the own words of each run of a trial: one, or one a part that validates."""
        inner = [(self.folder / f"{trial}_val{n}", [f"++data.val_after={n}"]) for n in self.val_afters]
        return inner or [(self.folder / str(trial), [])]

    def check_objectives(self, run: Path) -> None:
        """Refuse objectives that a finished run doesn't have (UsageError)."""
        if record.look(run).get("status") != "finished":
            return
        known = [*values_of(run), *COSTS]
        for name, _ in self.objectives:
            if name not in known:
                raise UsageError(f"{KEY}.objectives: no run logs {name}; {suggest(name, known)}")


def plan_of(cfg: DictConfig, fixed: Sequence[str], dimensions: Sequence[space.Dimension], folder: Path) -> Plan:
    """Read the plan of a search from its configuration with the hydra node (errors as of `check`)."""
    node = cfg.hydra.sweeper
    epochs = OmegaConf.select(cfg, "trainer.max_epochs")
    return Plan(
        folder=folder,
        fixed=fixed,
        dimensions=dimensions,
        objectives=objectives(cfg),
        n_trials=int(node.n_trials),
        timeout=None if node.timeout is None else float(node.timeout),
        sampler=str(node.sampler),
        seed=int(node.seed),
        parallel=int(node.parallel),
        pruner=pruner_of(node),
        epochs=epochs if isinstance(epochs, int) and epochs > 0 else None,
        val_afters=range(1, int(cfg.data.folds)) if node.inner_folds else (),
    )


def check(cfg: DictConfig, dimensions: Sequence[space.Dimension]) -> None:
    """Refuse what doesn't go together, before the first trial (UsageError)."""
    extra("optuna", WHO)
    node = cfg.hydra.sweeper
    space.refuse_misfit(str(node.sampler), dimensions)
    for key in ("n_trials", "parallel"):
        if isinstance(node[key], bool) or not isinstance(node[key], int) or node[key] < 1:
            raise UsageError(f"{KEY}.{key}={node[key]}: it wants a whole number from 1 on")
    if node.timeout is not None and (isinstance(node.timeout, bool) or not _is_above_0(node.timeout)):
        raise UsageError(f"{KEY}.timeout={node.timeout}: it wants seconds, above 0")
    if isinstance(node.seed, bool) or not isinstance(node.seed, int) or not 0 <= node.seed < 2**63:
        raise UsageError(f"{KEY}.seed={node.seed}: it wants a whole number from 0 on")
    if cfg.hydra.launcher.get("wait") is False:
        raise UsageError(f"{WHO} waits for its trials, so submit can't: take -m hydra/launcher=slurm")
    if pruner_of(node) not in PRUNERS:
        raise UsageError(f"{KEY}.pruner={node.pruner}: it can be {', '.join(PRUNERS)}")
    if not isinstance(node.inner_folds, bool):
        raise UsageError(f"{KEY}.inner_folds={node.inner_folds}: it can be true or false")
    if node.inner_folds and (cfg.data.get("folds") or 0) < 3:
        raise UsageError(f"{KEY}.inner_folds needs data.folds=K, from 3 on, and data.fold=N, which is tested")
    if node.inner_folds and cfg.data.get("val_after") is not None:
        raise UsageError(f"data.val_after={cfg.data.val_after}: {KEY}.inner_folds=true sets it, to all in turn")
    if node.inner_folds and pruner_of(node) != "none":
        raise UsageError(f"{KEY}.pruner={node.pruner}: a trial of several folds has no epochs to compare; take none")
    wanted = objectives(cfg)
    if len(wanted) > 1 and pruner_of(node) != "none":
        raise UsageError(f"{KEY}.pruner={node.pruner}: several objectives have no order to prune by; take none")
    if len(wanted) > 1 and node.sampler == "cmaes":
        raise UsageError(f"{KEY}.sampler=cmaes searches for one objective; take tpe, gp or random")
    if pruner_of(node) != "none" and wanted[0][0] in COSTS:
        raise UsageError(f"{KEY}.pruner={node.pruner}: {wanted[0][0]} is not known after each epoch; take none")


def objectives(cfg: DictConfig) -> list[tuple[str, str]]:
    """Read what trials are judged by: the keys' own, else the metric that chooses checkpoints (UsageError)."""
    node = cfg.hydra.sweeper.get("objectives")
    if node is not None:
        plain: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        if not isinstance(plain, Mapping) or not plain or any(mode not in MODES for mode in plain.values()):
            raise UsageError(f"{KEY}.objectives={plain}: write {{val_auroc: max, val_loss: min}}")
        if odd := [name for name in plain if not str(name).startswith("val_") and name not in COSTS]:
            raise UsageError(f"{KEY}.objectives: {odd[0]} is none; there are val_... and {', '.join(COSTS)}")
        return [(str(name), str(mode)) for name, mode in plain.items()]
    chosen = chooser(OmegaConf.to_container(cfg.callbacks, resolve=True))
    if not chosen[0]:
        raise UsageError(f"{WHO}: no callback monitors a metric by which trials could be judged")
    return [chosen]


def pruner_of(node: Any) -> str:
    """Name the pruner; YAML's null is none."""
    return "none" if node.pruner is None else str(node.pruner)


def chooser(callbacks: Any) -> tuple[str, str]:
    """Read from callbacks the metric that chooses checkpoints, and if its max or min is best; ("", "max") for none."""
    for node in (callbacks or {}).values():
        if isinstance(node, dict) and node.get("monitor") and "Checkpoint" in str(node.get("_target_")):
            return str(node["monitor"]), str(node.get("mode") or "min")
    return "", "max"


def outcome_of(run: Path, wanted: Sequence[tuple[str, str]]) -> Outcome:
    """Read what a run came to, by the objectives."""
    fields = record.look(run)
    state = record.status(fields)
    reason = re.sub(r"\s+", " ", str(fields.get("error") or "")) or f"its run is {state}"
    if state != "finished":
        return Outcome("pruned" if state == "pruned" else "failed", (), reason)
    known: dict[str, Any] = values_of(run) | {name: fields.get(name) for name in COSTS}
    values = [known.get(name) for name, _ in wanted]
    for (name, _), value in zip(wanted, values, strict=True):
        if value is None or not isfinite(value):
            return Outcome("failed", (), f"{name} is {'not there' if value is None else value}")
    return Outcome("finished", tuple(float(value) for value in values if value is not None))


def mean_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Put together what the runs of a trial came to: the mean, or why there is none."""
    if (bad := next((one for one in outcomes if one.state != "finished"), None)) is not None:
        return bad
    return Outcome("finished", tuple(map(fmean, zip(*(one.values for one in outcomes), strict=True))))


def values_of(run: Path) -> dict[str, float]:
    """Read what validation said of the checkpoint that was chosen: {val_NAME: value}."""
    fields, file = record.look(run), run / "metrics.csv"
    if not file.is_file() or fields.get("best_epoch") is None:
        return {}
    with open(file, encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("epoch") == str(int(fields["best_epoch"]))]
    return {key: float(value) for row in rows for key, value in row.items() if key.startswith("val_") and value}


def _is_above_0(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0

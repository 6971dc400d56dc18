"""hydra/sweeper=optuna: ask a study for trials, run each as a job of the sweep, tell it what validation said.

The study is a journal in the sweep's folder, to which each step is appended before the next begins: whatever is killed,
what was told is there. A trial that was asked for and not told is run again, or read where its run has finished.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from medtrain.config import compose, space
from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.io.files import write_text

TARGET = "hydra_plugins.medtrain.OptunaSweeper"
JOURNAL, STUDY, DEFAULT = "study.journal", "medtrain", "default"
CLOSED = "eval.test=false"


class OptunaSweeper(Sweeper):
    """A sweeper that takes configs/hydra/sweeper/optuna.yaml's keys."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config = self.of_sweep = config
        self.config_loader = hydra_context.config_loader
        self.starter: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are `n_trials`, or `timeout` is over; first of all the default, which is no trial."""
        folder = Path(str(self.of_sweep.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "multirun.yaml", OmegaConf.to_yaml(self.of_sweep))
        fixed, dimensions = self._space(arguments)
        sampler, seed = str(self.settings["sampler"]), int(self.settings["seed"])
        if not (folder / JOURNAL).is_file():
            self._launch([[*fixed, f"hydra.sweep.subdir={DEFAULT}"]], 0)
        study = open_study(folder, chooser(OmegaConf.to_container(self.of_sweep.callbacks))[1])
        self._go_on(study, fixed, dimensions)
        started, timeout = time.monotonic(), self.settings["timeout"]
        while (n := len(study.get_trials(deepcopy=False))) < int(self.settings["n_trials"]):
            if timeout is not None and time.monotonic() - started > float(timeout):
                print(f"hydra.sweeper.timeout: {n} of {self.settings['n_trials']} trials were asked for")
                break
            count = min(int(self.settings["batch"]), int(self.settings["n_trials"]) - n)
            trials: list[Any] = []
            words: list[list[str]] = []
            for _ in range(count):
                study.sampler = make_sampler(sampler, dimensions, seed * 100_003 + n + len(trials), count > 1)
                if sampler == "grid" and study.sampler.is_exhausted(study):
                    break
                trial = study.ask()
                words.append([*fixed, *draw(trial, dimensions)])
                trials.append(trial)
            if not trials:
                print(f"hydra.sweeper.sampler=grid: all {n} combinations were tried")
                break
            self._tell(study, [trial.number for trial in trials], words)

    def _space(self, arguments: list[str]) -> tuple[list[str], list[space.Dimension]]:
        params = self.settings.get("params") or {}
        given = {word.partition("=")[0].lstrip("+") for word in arguments}
        words = [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+") not in given]
        overrides = OverridesParser.create(config_loader=self.config_loader).parse_overrides([*words, *arguments])
        fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        dimensions = compose.dimensions(self.config_loader, overrides)
        return [*fixed, f"++{CLOSED}"], dimensions

    def _go_on(self, study: Any, fixed: list[str], dimensions: Sequence[space.Dimension]) -> None:
        """Run the trials again that were asked for, and not told, when the sweep was ended."""
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                words = drawn_words(trial.params, dimensions)
                if words is None:  # it has no run yet: the command ended while it was drawn
                    print(f"trial {trial.number} was not drawn to its end: it counts as failed")
                    study.tell(trial.number, state=extra("optuna", "a search").trial.TrialState.FAIL)
                else:
                    self._tell(study, [trial.number], [[*fixed, *words]])

    def _tell(self, study: Any, numbers: Sequence[int], words: Sequence[Sequence[str]]) -> None:
        values = self._launch(words, numbers[0])
        for number, value in zip(numbers, values, strict=True):
            if value is None or not isfinite(value):
                print(f"trial {number} came to no result: it counts as failed, and the search goes on")
                study.tell(number, state=extra("optuna", "a search").trial.TrialState.FAIL)
            else:
                study.tell(number, value)

    def _launch(self, words: Sequence[Sequence[str]], number: int) -> list[float | None]:
        self.validate_batch_is_legal(words)
        return [returned.return_value for returned in self.starter.launch(words, initial_job_idx=number)]


Plugins.instance().class_name_to_class[TARGET] = OptunaSweeper


def is_search(cfg: DictConfig) -> bool:
    """Tell whether a composed configuration is one of a search."""
    return cfg.hydra.sweeper.get("_target_") == TARGET


def check_search(cfg: DictConfig, dimensions: Sequence[space.Dimension]) -> None:
    """Refuse what doesn't go together, before the first trial (UsageError)."""
    extra("optuna", "hydra/sweeper=optuna")
    node = cfg.hydra.sweeper
    space.refuse_misfit(str(node.sampler), dimensions)
    for key in ("n_trials", "batch"):
        if not isinstance(node[key], int) or node[key] < 1:
            raise UsageError(f"hydra.sweeper.{key}={node[key]}: it wants a whole number from 1 on")
    if cfg.hydra.launcher.get("wait") is False:
        raise UsageError("hydra/sweeper=optuna waits for its trials, so submit can't: take -m hydra/launcher=slurm")
    if not chooser(OmegaConf.to_container(cfg.callbacks, resolve=False))[0]:
        raise UsageError("hydra/sweeper=optuna: no callback monitors a metric by which trials could be judged")


def chooser(callbacks: Any) -> tuple[str, str]:
    """Read from callbacks the metric that chooses checkpoints, and if its max or min is best; ("", "max") for none."""
    for node in (callbacks or {}).values():
        if isinstance(node, dict) and node.get("monitor") and "Checkpoint" in str(node.get("_target_")):
            return str(node["monitor"]), str(node.get("mode") or "min")
    return "", "max"


def open_study(folder: Path, mode: str) -> Any:
    """Open the study of a search, or begin it; optuna-dashboard opens the same file."""
    optuna = extra("optuna", "hydra/sweeper=optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = optuna.storages.journal
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / JOURNAL)))
    direction = "maximize" if mode == "max" else "minimize"
    return optuna.create_study(storage=storage, study_name=STUDY, direction=direction, load_if_exists=True)


def make_sampler(name: str, dimensions: Sequence[space.Dimension], seed: int, several: bool) -> Any:
    """Make a sampler whose draws are those of `seed`: each trial has its own, so that none is repeated on going on."""
    samplers = extra("optuna", "hydra/sweeper=optuna").samplers
    if name == "grid":
        return samplers.GridSampler({d.key: list(d.choices) for d in dimensions}, seed=seed % 2**31)
    if name == "tpe":
        return samplers.TPESampler(seed=seed % 2**31, constant_liar=several)
    makers: Mapping[str, Any] = {
        "random": samplers.RandomSampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
    }
    return makers[name](seed=seed % 2**31)


def draw(trial: Any, dimensions: Sequence[space.Dimension]) -> list[str]:
    """Draw a trial's words, a group's option before the keys that hang on it."""
    drawn: dict[str, Any] = {}
    is_grid = type(trial.study.sampler).__name__ == "GridSampler"
    for d in sorted(dimensions, key=lambda d: d.group is not None):
        if d.group is not None and str(drawn.get(d.group)) not in d.options:
            continue
        if d.is_category or is_grid:
            drawn[d.key] = trial.suggest_categorical(d.key, list(d.choices))
        elif isinstance(d.low, int) and isinstance(d.high, int):
            drawn[d.key] = trial.suggest_int(d.key, d.low, d.high, step=int(d.step or 1), log=d.log)
        else:
            drawn[d.key] = trial.suggest_float(d.key, d.low, d.high, step=d.step, log=d.log)
    return [f"{key}={value}" for key, value in drawn.items()]


def drawn_words(params: Mapping[str, Any], dimensions: Sequence[space.Dimension]) -> list[str] | None:
    """Write the words of a trial that was drawn before; None where the journal lacks some of them."""
    counting = [d.key for d in dimensions if d.group is None or str(params.get(d.group)) in d.options]
    return [f"{key}={params[key]}" for key in counting] if all(key in params for key in counting) else None

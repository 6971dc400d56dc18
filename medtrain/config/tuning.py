"""hydra/sweeper=optuna: workers ask a study for trials, run each as a job of the sweep, tell what validation said.

The study is a journal in the sweep's folder, to which each step is appended before the next begins: whatever is killed,
what was told is there. A trial that was asked for and not told is run again, or read where its run has finished.

With one worker that is this process. Several are processes of the same command, or jobs of an array on SLURM; this
process then leads them: it starts them, says what they come to, and counts a trial as failed whose worker died in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from medtrain.callbacks import pruning
from medtrain.config import compose, space
from medtrain.config.trials import DEFAULT, Outcome, Plan, mean_of, outcome_of, plan_of
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.extras import extra
from medtrain.io import closed, record
from medtrain.io.files import write_text
from medtrain.io.store.lock import only_one
from medtrain.io.study import JOURNAL, UNTIL, WHO, WORKER, make_pruner, make_sampler, mend, open_study

TARGET = "hydra_plugins.medtrain.OptunaSweeper"
CLOSED = "eval.test=false"
OWNER = "worker"  # the attribute of a trial that says whose it is

Launch = Callable[[Sequence[str], int], Exception | None]


class OptunaSweeper(Sweeper):
    """A sweeper that takes configs/hydra/sweeper/optuna.yaml's keys."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config = self.of_sweep = config
        self.config_loader, self.jobs = hydra_context.config_loader, task_function.jobs
        self.starter: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are `n_trials`, or `timeout` is over; first of all the default, which is no trial."""
        folder = Path(str(self.of_sweep.hydra.sweep.dir))
        fixed, dimensions = self._space(arguments)
        plan = plan_of(self.of_sweep, fixed, dimensions, folder)
        if (name := os.environ.get(WORKER)) is not None:
            Worker(name, plan, self._launch).work(float(os.environ.get(UNTIL) or "inf"))
            return
        if (folder / JOURNAL).is_file() and self.of_sweep.sweep.retry is None:
            go_on = f"go on with it by -m hydra.sweep.dir={folder} sweep.retry=failed"
            raise UsageError(f"hydra.sweep.dir={folder} holds a search already; {go_on}, or give another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "multirun.yaml", OmegaConf.to_yaml(self.of_sweep))
        if cut := mend(folder):
            print(f"{folder / JOURNAL}: its last {cut} bytes were half a line, and are cut off")
        for note in space.fallbacks(plan.sampler, dimensions, plan.n_trials):
            print(f"note: {note}")
        until = time.time() + float("inf" if plan.timeout is None else plan.timeout)
        names = [str(number) for number in range(plan.parallel)]
        study = open_study(folder, plan.modes)
        settings = getattr(self.starter, "settings", None)  # of a launcher that hands over to a cluster
        if settings is None and plan.parallel == 1:
            hand_out(study, names)
            Worker(names[0], plan, self._launch).work(until)
        else:
            busy = set() if settings is None else set(self.jobs.busy(names))
            hand_out(study, [name for name in names if name not in busy] or names, busy)
            leader = Leader(study)
            variables = {} if until == float("inf") else {UNTIL: str(until)}
            self.jobs.work(names, variables, settings, leader)
            leader.close()

    def _space(self, arguments: list[str]) -> tuple[list[str], list[space.Dimension]]:
        params = self.settings.get("params") or {}
        given = {word.partition("=")[0].lstrip("+") for word in arguments}
        words = [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+") not in given]
        overrides = OverridesParser.create(config_loader=self.config_loader).parse_overrides([*words, *arguments])
        fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        dimensions = compose.dimensions(self.config_loader, overrides)
        return [*fixed, f"++{CLOSED}"], dimensions

    def _launch(self, words: Sequence[str], number: int) -> Exception | None:
        """Run one job; returns what it failed of before it had a run."""
        try:
            returned = self.starter.launch([list(words)], initial_job_idx=number)[0]
        except HydraException as error:
            return UsageError(compose.one_line(error))
        fault = None if returned.status is JobStatus.COMPLETED else returned._return_value
        if fault is not None and not isinstance(fault, Exception):
            raise fault
        return fault


Plugins.instance().class_name_to_class[TARGET] = OptunaSweeper


def is_search(cfg: DictConfig) -> bool:
    """Tell whether a composed configuration is one of a search."""
    return cfg.hydra.sweeper.get("_target_") == TARGET


class Worker:
    """One that asks for trials, one after another.

    Args:
        name: by which it knows its own trials again.
        plan: of the search.
        launch: runs words as the job of a number; returns what it failed of before it had a run.
    """

    def __init__(self, name: str, plan: Plan, launch: Launch) -> None:
        self.name, self.plan, self.launch = name, plan, launch
        self.study = open_study(plan.folder, plan.modes)
        self.study.pruner = make_pruner(plan.pruner, plan.epochs)
        self.trial_class = extra("optuna", WHO).trial.Trial

    def work(self, until: float) -> None:
        """Go on with own trials, then ask for others until there are enough of them, or the time is up.

        Args:
            until: seconds since the epoch after which no further trial is asked for.
        """
        self._default()
        for known in self.study.get_trials(deepcopy=False):
            if known.state.name == "RUNNING" and known.user_attrs.get(OWNER) == self.name:
                self.study.sampler = self._sampler(known.number)
                self._run(self.trial_class(self.study, known._trial_id))
        while (trial := self._ask(until)) is not None:
            self._run(trial)

    def _default(self) -> None:
        """Run the default, which reads the files and fills the store; of several workers the first to come does."""
        for folder, judging in self.plan.parts(DEFAULT):
            with self._alone("default.lock"):  # another takes over if the one that runs it dies
                if self.name != "0" and record.status(record.look(folder)) in ("finished", "failed"):
                    continue  # another has run it
                with known_to(self.plan):  # of several parts the first alone reads all files
                    fault = self.launch([*self.plan.fixed, *judging, f"hydra.sweep.subdir={folder.name}"], 0)
            if fault is not None:  # its data have changed, or its folder is no search's
                raise fault
            self.plan.check_objectives(folder)
        if not (first := self.plan.closed).is_file():  # no trial would know what the test split is
            reason = outcome_of(first.parent, self.plan.objectives).reason
            raise MedtrainError(f"{first.parent} failed, and trials would like it: {reason}")

    def _alone(self, name: str) -> AbstractContextManager[None]:
        """Keep other workers from doing the same at once, where there are any."""
        return nullcontext() if self.plan.parallel == 1 else only_one(self.plan.folder / name, lambda _: None)

    def _ask(self, until: float) -> Any:
        """Ask for a trial and draw it; None where there is none left."""
        plan = self.plan
        with self._alone("study.lock"):
            n, wanted = len(self.study.get_trials(deepcopy=False)), plan.n_trials
            if n >= wanted:
                return None
            if time.time() > until:
                print(f"hydra.sweeper.timeout: {n} of {wanted} trials were asked for")
                return None
            self.study.sampler = self._sampler(n)
            if plan.sampler == "grid" and self.study.sampler.is_exhausted(self.study):
                print(f"hydra.sweeper.sampler=grid: all {n} combinations were tried")
                return None
            trial = self.study.ask()
            trial.set_user_attr(OWNER, self.name)
            draw(trial, plan.dimensions)
        return trial

    def _sampler(self, number: int) -> Any:
        plan = self.plan
        choices = {d.name: d.choices for d in plan.dimensions}
        return make_sampler(plan.sampler, choices, plan.seed, number, plan.parallel > 1)

    def _run(self, trial: Any) -> None:
        """Run a trial, or go on with it, and tell the study."""
        plan, number = self.plan, trial.number
        words = draw(trial, plan.dimensions)  # what was drawn before stays
        outcomes: list[Outcome] = []
        for folder, judging in plan.parts(number):
            with known_to(plan, number):
                fault = self.launch([*plan.fixed, *words, *judging, f"hydra.sweep.subdir={folder.name}"], number)
            outcomes.append(outcome_of(folder, plan.objectives) if fault is None else Outcome("failed", (), str(fault)))
            if outcomes[-1].state != "finished":
                break  # the others would be trained for nothing
        tell(self.study, number, mean_of(outcomes))


class Leader:
    """What the command says and does while others work (`medtrain.launch.workers`)."""

    def __init__(self, study: Any) -> None:
        self.study = study
        self.shown = {t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()}

    def look(self) -> None:
        """Say which trials have ended since the last look."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in self.shown:
                self.shown.add(trial.number)
                values = ", ".join(f"{value:.4f}" for value in trial.values or ())
                print(f"trial {trial.number}: {trial.state.name.lower()} {values}".rstrip(), flush=True)

    def fallen(self, name: str, how: str) -> bool:
        """Count the trial as failed in which a worker died; tells whether there was one, and another may follow."""
        own = [t for t in running(self.study) if t.user_attrs.get(OWNER) == name]
        for trial in own:
            reason = f"its worker {name} died ({how})"
            tell(self.study, trial.number, Outcome("failed", (), reason))
        return bool(own)

    def close(self) -> None:
        """Say which trials have not come to an end."""
        self.look()
        if left := [str(trial.number) for trial in running(self.study)]:
            print(f"trials that did not end: {', '.join(left)}; sweep.retry=failed goes on with them")


def running(study: Any) -> list[Any]:
    """List the trials that were asked for and not told."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]


def hand_out(study: Any, names: Sequence[str], busy: Collection[str] = ()) -> None:
    """Give the trials that an ended command has left to workers, in turn, but those of workers that still run."""
    left = [trial for trial in running(study) if trial.user_attrs.get(OWNER) not in busy]
    for position, trial in enumerate(left):
        study._storage.set_trial_user_attr(trial._trial_id, OWNER, names[position % len(names)])


@contextmanager
def known_to(plan: Plan, number: int | None = None) -> Iterator[None]:
    """Let a training know of files that stay closed, and of its trial (not the default's), where it may be pruned."""
    os.environ[closed.CLOSED] = str(plan.closed.absolute())
    if plan.pruner != "none" and number is not None:
        monitor = plan.objectives[0][0]
        os.environ[pruning.TRIAL] = pruning.describe(plan.folder, number, plan.pruner, monitor, plan.epochs)
    try:
        yield
    finally:
        os.environ.pop(pruning.TRIAL, None)
        os.environ.pop(closed.CLOSED, None)


def tell(study: Any, number: int, outcome: Outcome) -> None:
    """Tell the study what became of a trial."""
    optuna = extra("optuna", WHO)
    states = optuna.trial.TrialState
    study.sampler = optuna.samplers.RandomSampler()  # a grid's wants to stop an `optimize` that there is not
    if outcome.state == "finished":
        study.tell(number, list(outcome.values))
    elif outcome.state == "pruned":
        print(f"trial {number} was pruned: {outcome.reason}", flush=True)
        study.tell(number, state=states.PRUNED)
    else:
        print(f"trial {number} came to no result and counts as failed: {outcome.reason}", flush=True)
        study._storage.set_trial_user_attr(_id(study, number), "error", outcome.reason)
        study.tell(number, state=states.FAIL)


def _id(study: Any, number: int) -> int:
    return int(study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


def draw(trial: Any, dimensions: Sequence[space.Dimension]) -> list[str]:
    """Draw a trial's words, a group's option before the keys that hang on it; what was drawn before stays."""
    drawn: dict[str, Any] = {}
    is_grid, words = type(trial.study.sampler).__name__ == "GridSampler", []
    for d in sorted(dimensions, key=lambda d: d.group is not None):
        if d.group is not None and str(drawn.get(d.group)) not in d.options:
            continue
        if d.is_category or is_grid:
            value = trial.suggest_categorical(d.name, list(d.choices))
        elif isinstance(d.low, int) and isinstance(d.high, int):
            value = trial.suggest_int(d.name, d.low, d.high, step=int(d.step or 1), log=d.log)
        else:
            value = trial.suggest_float(d.name, d.low, d.high, step=d.step, log=d.log)
        drawn[d.name] = value
        words.append(f"{d.key}={value}")
    return words

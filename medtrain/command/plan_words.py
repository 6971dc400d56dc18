"""What a plan prints: choices with their reasons, what was measured and follows, the commands that train."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from medtrain.command.forecast import Forecast
from medtrain.command.new_experiment import HOME, is_at_home
from medtrain.core.words import first_few
from medtrain.planning import Choice, Machine
from medtrain.report.words import count, duration
from medtrain.target.order import as_items

TOLD = 1.1  # times by which other programs slow the measured steps, from which on that is said
MEMBERS = 3  # of an ensemble, where there is time for so many trainings
FULL = 0.9  # of the machine's memory, from which on that is said


def as_word(value: Any) -> str:
    """Write a value as the command line takes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{as_items(list(map(str, value)))}]" if isinstance(value, list) else str(value)


def choices_table(choices: Sequence[Choice], given: Mapping[str, Any]) -> Table:
    """Make a line a choice, with its reason."""
    table = Table("key", "value", "reason", title="plan", title_justify="left")
    before = ""
    for choice in choices:
        if choice.key in given:
            table.add_row(Text(choice.key), Text(as_word(given[choice.key])), Text("as the command line has it"))
        else:
            shown = "as above" if choice.reason == before else choice.reason
            table.add_row(Text(choice.key), Text(as_word(choice.value)), Text(shown))
            before = choice.reason
    return table


def unseen(spare: Sequence[str], cfg: DictConfig) -> list[str]:
    """Name the columns of the table that the network won't see, and how it would.

    Args:
        spare: columns without a role (see `Manifest.spare`).
        cfg: of the training.
    """
    seen = {*map(str, cfg.data.get("covariates") or ()), *map(str, cfg.eval.get("groups") or ())}
    if not (left := [name for name in spare if name not in seen]):
        return []
    how = "; what is known of a case before its label may be seen by data.covariates=[...]"
    return [f"columns without a role: {first_few(left)}" + how * (cfg.task.kind != "mask")]  # whose networks see none


def measured(expected: Forecast, epochs: int, limits: DictConfig, trainings: int, machine: Machine) -> list[str]:
    """Say what was measured, and what follows.

    Args:
        expected: of a training of so many epochs, and `trainings` of them.
        limits: the node `plan`.
        machine: whose memory it takes.
    """
    memory = ", ".join(f"{mb / 1000:.1f} GB of {name}" for name, mb in expected.memory_mb.items())
    steps, planned = count(expected.steps, "step"), count(epochs, "epoch")
    lines = [
        f"measured over {limits.steps} steps: {_brief(expected.step)} a step, {steps} an epoch, "
        f"{expected.looks:,} of validation",
        f"forecast: {_brief(expected.epoch)} an epoch, {duration(expected.total(epochs))} for {planned} and "
        f"the test, at most; {memory}",
    ]
    if machine.processes > 1:
        alone = f"measured in one of {machine.processes} processes, of which each is taken to be as quick as that one"
        lines.append(f"{alone}; memory is that of one")
    if expected.slowed >= TOLD:
        lines.append(
            f"other programs use these cores too: just now all takes {expected.slowed:.1f} times as long; the "
            "forecast, and what was chosen by it, is for cores of one's own"
        )
    if trainings > 1:
        lines.append(f"{trainings} folds: {duration(trainings * expected.total(epochs))} one after the other")
    if (hours := trainings * expected.total(epochs) / 3600) > float(limits.hours):
        lines.append(f"check: that is {hours:.1f} h, longer than plan.hours={limits.hours:g}, and can't be shortened")
    if (needed := expected.memory_mb["process"] / 1000) > FULL * machine.memory_gb:
        lines.append(f"check: {needed:.1f} GB of the {machine.memory_gb:.1f} GB that this machine has")
    return lines


def _brief(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def command(output: Path, folds: Sequence[int], room: int) -> list[str]:
    """Write the command that trains as planned, one training or one a fold; also how an ensemble would be made.

    Args:
        output: the experiment file.
        folds: that are tested in turn.
        room: trainings for which there is time.
    """
    lines = [
        f"wrote {output}; train with" if is_at_home(output) else f"wrote {output}; put it into {HOME}/ and train with"
    ]
    word = shlex.quote(f"experiment={output.stem}")
    together = "  medtrain ensemble runs=THE_SWEEP_THAT_IT_PRINTS"
    if len(folds) > 1:
        return [*lines, f"  medtrain -m {word} data.fold={','.join(map(str, folds))}", together]
    lines.append(f"  medtrain {word}")
    if room >= MEMBERS:
        seeds = ",".join(map(str, range(MEMBERS)))
        several = f"there is time for {MEMBERS}: their mean is an ensemble, and how they differ is luck"
        lines += [several, f"  medtrain -m {word} seed={seeds}", together]
    return lines

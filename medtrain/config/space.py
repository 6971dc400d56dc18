"""The space of a search in Hydra's own words: what each swept word may be, and with which option it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.io.study import RANDOM_FIRST, SAMPLERS


@dataclass(frozen=True)
class Dimension:
    """One swept word.

    Args:
        key: what it sets, as Hydra writes it (with a leading +, if it adds).
        choices: its values, written out, of a choice or a range; empty for an interval.
        low, high: of an interval, and of a range of numbers (both may be drawn).
        step: of a range.
        log: drawn evenly in the logarithm.
        group, options: the word counts where this group has one of these options only.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    group: str | None = None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name it as people do, whether it adds or not."""
        return self.key.lstrip("+")

    @property
    def is_category(self) -> bool:
        return self.low is None


def dimension(override: Override) -> Dimension:
    """Read what a swept word may be.

    Raises:
        UsageError: an interval that is empty, or whose logarithm isn't there.
    """
    key, value = str(override.get_key_element()), override.value()
    log = "log" in (getattr(value, "tags", None) or ())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None and high is not None
        made = Dimension(key, low=low, high=high, log=log)
    elif isinstance(value, RangeSweep):
        choices = tuple(override.sweep_string_iterator())
        kind: Any = type(value.start)
        numbers = sorted(kind(float(text)) for text in choices)
        step: Any = None if log else abs(value.step)
        made = Dimension(key, choices, numbers[0], numbers[-1], step, log) if numbers else Dimension(key)
    else:
        if log:
            raise UsageError(f"{override.input_line}: tag(log, ...) is for intervals and ranges, not for a choice")
        made = Dimension(key, tuple(dict.fromkeys(override.sweep_string_iterator())))
    if (made.is_category and not made.choices) or (made.low is not None and made.low > (made.high or 0)):
        raise UsageError(f"{override.input_line}: nothing lies in it")
    if made.log and (made.low or 0) <= 0:
        raise UsageError(f"{override.input_line}: tag(log, ...) wants numbers above 0")
    return made


def ends(override: Override) -> list[str]:
    """Write the two ends of an interval, by which its key and its values are checked."""
    value = override.value()
    return [str(value.start), str(value.end)] if isinstance(value, IntervalSweep) else []


def conditions(
    load: Callable[[list[Override]], DictConfig], overrides: Sequence[Override], single: Callable[..., list[Override]]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Find the swept keys that some options of a swept group have and others don't: {key: (group, those that do)}.

    Args:
        load: composes a configuration.
        overrides: all of them.
        single: turns a swept override into one a value.
    """
    swept = [o for o in overrides if o.is_sweep_override()]
    fixed = [o for o in overrides if not o.is_sweep_override()]
    groups = set(search.option_files())
    listed = {}
    for group in (o for o in swept if o.key_or_group in groups):
        below = [o.key_or_group for o in swept if o.key_or_group.startswith(f"{group.key_or_group}.")]
        if not below:
            continue
        nodes = {str(o.value()): load([*fixed, o]) for o in single(group)}
        for key in below:
            having = tuple(name for name, cfg in nodes.items() if _has(cfg, key))
            if having and len(having) < len(nodes):
                listed[key] = (group.key_or_group, having)
    return listed


def counting(overrides: list[Override], conditional: dict[str, tuple[str, tuple[str, ...]]]) -> list[Override]:
    """Leave out the words whose key the chosen option of their group doesn't have."""
    chosen = {o.key_or_group: str(o.value()) for o in overrides}
    return [
        o
        for o in overrides
        if o.key_or_group not in conditional or chosen[conditional[o.key_or_group][0]] in conditional[o.key_or_group][1]
    ]


def refuse_misfit(sampler: str, space: Sequence[Dimension]) -> None:
    """Refuse a sampler that can't search a space (UsageError)."""
    if sampler not in SAMPLERS:
        raise UsageError(f"hydra.sweeper.sampler={sampler}: it can be {', '.join(SAMPLERS)}")
    if not space:
        raise UsageError("hydra/sweeper=optuna: nothing to search; write key=interval(a,b), range(a,b) or a,b,c")
    if sampler == "grid":
        if wrong := [d.key for d in space if not d.choices]:
            raise UsageError(f"hydra.sweeper.sampler=grid: {wrong[0]} is an interval; give its values, or a range")
        if wrong := [d.key for d in space if d.group]:
            raise UsageError(f"hydra.sweeper.sampler=grid: {wrong[0]} is not there in all trials; take tpe or random")
    if sampler == "cmaes" and (wrong := [d.key for d in space if d.is_category or d.group]):
        raise UsageError(f"hydra.sweeper.sampler=cmaes: {wrong[0]} is no number in all trials; take tpe, gp or random")


def fallbacks(sampler: str, space: Sequence[Dimension], n_trials: int) -> list[str]:
    """Say where a sampler does less than its name promises."""
    listed, key = [], f"hydra.sweeper.sampler={sampler}"
    if sampler in RANDOM_FIRST and n_trials <= RANDOM_FIRST[sampler]:
        listed.append(f"{key}: it draws its first {RANDOM_FIRST[sampler]} trials at random, so here all of them")
    if sampler == "gp" and (odd := [d.name for d in space if d.group]):
        listed.append(f"{key}: {', '.join(odd)} is not there in all trials, and is drawn at random")
    if sampler == "grid" and (count := prod(len(d.choices) for d in space)) > n_trials:
        listed.append(f"{key}: {n_trials} of {count} combinations are tried (hydra.sweeper.n_trials)")
    return listed


def _has(cfg: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    return isinstance(node, DictConfig) and name in node

"""From command-line words to one checked configuration, with every problem told at once.

Hydra stops at the first fault, merges a misspelt key of a YAML file silently, and lets ``+`` add anything. So the
configuration is composed leniently first, then `check` compares the whole result with what the package ships.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from medtrain.config import check, features, hydra_keys, own_options, search, space, strangers, targets
from medtrain.config.loader import loader
from medtrain.core.errors import UsageError
from medtrain.core.words import suggest

SAVED = "medtrain_saved_run"


@dataclass
class Composition:
    """A checked configuration and how to compose its like again."""

    variants: list[DictConfig]  # with the hydra node; of a sweep, every value stands in one of them
    loader: ConfigLoaderImpl
    primary: str
    tokens: list[str]

    @property
    def cfg(self) -> DictConfig:
        """Give the configuration; of a sweep, that of its first job."""
        return self.variants[0]


def compose(
    tokens: list[str], *, saved: DictConfig | None = None, multirun: bool = False, signatures: bool = False
) -> Composition:
    """Compose and check; raises a UsageError that lists every problem.

    Args:
        tokens: overrides, paths quoted already.
        saved: the configuration of a run to start from, instead of the packaged primary one.
        multirun: sweeps are allowed; each of their values is checked once.
        signatures: check the arguments of each `_target_` too, for which it is imported.
    """
    try:
        configs = loader()
        primary = search.PRIMARY if saved is None else SAVED
        overrides, problems = _parse([hydra_keys.in_full(token) for token in tokens], configs)
        problems += _unknown_options(overrides, multirun)
        problems += [check.Fault(*pair) for pair in hydra_keys.word_faults(overrides, configs)]
        if saved is not None:
            _store(saved, {o.key_or_group for o in overrides})
        usable = [o for o in overrides if o.input_line not in {p.token for p in problems}]
        variants = []
        swept = _swept(_load(configs, primary, next(_variants(usable, True))), usable) if multirun else []
        problems += _without_values([*swept, *usable])
        conditional = _conditions(configs, primary, [*swept, *usable]) if _searches(usable) else {}
        for variant in _variants([*swept, *usable], multirun):
            variant = space.counting(variant, conditional)
            cfg = _load(configs, primary, variant)
            variants.append(cfg)
            problems += _check(cfg, saved, variant, signatures)
            problems += [check.Fault(*pair) for pair in hydra_keys.faults(cfg, variant, multirun)]
            check.blame_files(problems, configs, primary, [_lenient(o) for o in variant])
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(one_line(error)) from error
    texts = list(dict.fromkeys(str(p) for p in problems))
    if texts:
        raise UsageError("\n".join(texts))
    return Composition(variants, configs, primary, [str(o.input_line) for o in usable])


def dimensions(configs: ConfigLoaderImpl, overrides: list[Override]) -> list[space.Dimension]:
    """Read the space of a search from all of its words."""
    conditional = _conditions(configs, search.PRIMARY, overrides)
    listed = []
    for override in overrides:
        if override.is_sweep_override():
            group, options = conditional.get(override.key_or_group, (None, ()))
            listed.append(replace(space.dimension(override), group=group, options=options))
    return listed


def swept_words(composition: Composition) -> list[Override]:
    """Read the words of a sweep, those of ``hydra.sweeper.params`` too."""
    overrides = _parse(composition.tokens, composition.loader)[0]
    return [*_swept(composition.cfg, overrides), *overrides]


def _searches(overrides: list[Override]) -> bool:
    return any(o.key_or_group == "hydra/sweeper" and o.value() == "optuna" for o in overrides)


def _conditions(
    configs: ConfigLoaderImpl, primary: str, overrides: list[Override]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    return space.conditions(lambda words: _load(configs, primary, words), overrides, _single)


def task_for(data: str) -> str | None:
    """Name the task that an option of `data` is for: the packaged one where it fits, else the first that does."""
    kinds = check.kinds_of("data", data)
    usual = check.usual_option("task")
    names = sorted(search.option_files().get("task", {}), key=lambda name: (name != usual, name))
    return next((name for name in names if set(check.kinds_of("task", name)) & set(kinds)), None)


def _check(cfg: DictConfig, saved: DictConfig | None, overrides: list[Override], signatures: bool) -> list[check.Fault]:
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    choices = plain.pop("hydra")["runtime"]["choices"]
    run: Any = None if saved is None else OmegaConf.to_container(saved, resolve=False)
    return check.check(plain, check.reference(plain, choices, run), overrides, signatures=signatures)


def _parse(tokens: list[str], configs: ConfigLoaderImpl) -> tuple[list[Override], list[check.Fault]]:
    parser, overrides, problems = OverridesParser.create(config_loader=configs), [], []
    for token in tokens:
        try:
            overrides += parser.parse_overrides([token])
        except HydraException:
            advice = f"write key=value, and quote special characters: '{token.partition('=')[0]}=\"...\"'"
            problems.append(check.Fault(token, f"cannot read '{token}': {advice}"))
    return overrides, problems


def _unknown_options(overrides: list[Override], multirun: bool) -> list[check.Fault]:
    problems = []
    options = search.option_files()
    for override in overrides:
        line, group = str(override.input_line), override.key_or_group
        if override.is_sweep_override() and not multirun:
            problems.append(check.Fault(line, f"{line}: several values make a sweep; add -m, or quote the comma"))
        elif group in options and not group.startswith("hydra/") and not override.is_delete():
            for value in _values(override):
                if value is None or value == "null":
                    text = f"{line}: null is no option of {group}; leave it out of the sweep"
                    problems.append(check.Fault(line, text))
                elif str(value) not in options[group]:
                    known = features.by_another_name(str(value), options[group]) if group == "encoder" else None
                    advice = known or suggest(str(value), options[group])
                    problems.append(check.Fault(line, f"{group}={value}: no such option; {advice}"))
    return problems


def _without_values(overrides: list[Override]) -> list[check.Fault]:
    """List the sweeps that stand for no value, of which there would be no job."""
    lines = [str(o.input_line) for o in overrides if o.is_discrete_sweep() and not list(o.sweep_string_iterator())]
    return [
        check.Fault(line, f"{line}: no value, so there is nothing to run; write KEY=A,B or one value") for line in lines
    ]


def _values(override: Override) -> list[Any]:
    if not override.is_sweep_override():
        return [override.value()]
    return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []


def _variants(overrides: list[Override], multirun: bool) -> Iterator[list[Override]]:
    """List the overrides with each sweep at its first value, then each other value once (not their product)."""
    sweeps = {id(o): _single(o) for o in overrides if multirun and o.is_sweep_override()}

    def chosen(index: dict[int, int]) -> list[Override]:
        picked = []
        for o in overrides:
            if id(o) not in sweeps:
                picked.append(o)
            elif sweeps[id(o)]:
                picked.append(sweeps[id(o)][index.get(id(o), 0)])
        return picked

    yield chosen({})
    for key, singles in sweeps.items():
        for i in range(1, len(singles)):
            yield chosen({key: i})


def _swept(cfg: DictConfig, overrides: list[Override]) -> list[Override]:
    """Read the sweeps of ``hydra.sweeper.params``, but for those that the command line replaces."""
    given = {o.key_or_group for o in overrides}
    params = cfg.hydra.sweeper.get("params") or {}
    words = [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+~") not in given]
    return OverridesParser.create().parse_overrides(words)


def _single(override: Override) -> list[Override]:
    values = override.sweep_string_iterator() if override.is_discrete_sweep() else space.ends(override)
    parser = OverridesParser.create(config_loader=override.config_loader)
    return parser.parse_overrides([f"{override.get_key_element()}={v}" for v in values])


def _lenient(override: Override) -> str:
    """Rewrite an override in a form that Hydra always takes: what it may set is `check`'s decision."""
    line, key = str(override.input_line), override.key_or_group
    if (
        override.is_delete()
        or override.is_force_add()
        or key.startswith(("hydra.", "hydra/"))
        or key in search.option_files()
    ):
        return line
    return "++" + line.lstrip("+")


def _load(configs: ConfigLoaderImpl, primary: str, overrides: list[Override]) -> DictConfig:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "provider=hydra.searchpath", UserWarning)
        try:
            cfg = configs.load_configuration(primary, [_lenient(o) for o in overrides], run_mode=RunMode.RUN)
        except UserWarning as lacking:
            folder = str(lacking).partition("path=")[2].removesuffix(" is not available.")
            raise UsageError(f"hydra.searchpath: {folder}: no such folder or package") from None
        except RecursionError:
            raise UsageError("the configuration can't be put together: a defaults list leads to itself") from None
        except (ValueError, TypeError, AssertionError) as error:  # of a defaults list that is none
            raise UsageError(f"the configuration can't be put together: {one_line(error)}") from error
    OmegaConf.set_struct(cfg, False)  # keys are compared with the reference, not refused one at a time
    own_options.restore(cfg, {override.key_or_group for override in overrides})
    HydraConfig.instance().set_config(cfg)
    return cfg


def _store(saved: DictConfig, overridden: set[str]) -> None:
    """Keep a run's configuration as a primary one whose groups can still be replaced."""
    raw = OmegaConf.load(search.packaged_folder() / f"{search.PRIMARY}.yaml")
    assert isinstance(raw, DictConfig)
    items = [dict(item) for item in raw.pop("defaults") if item != "_self_"]
    hydras = [item for item in items if next(iter(item)).startswith("override ")]
    groups = [group for item in items if item not in hydras for group in item if group != "task"]
    defaults: list[Any] = ["_self_", *({group: None} for group in groups), *hydras]
    of_run = {k: v for k, v in saved.items() if k not in overridden & set(groups)}
    # the run's keys come first, in their order, so that a repeated run writes the same file
    node = OmegaConf.merge(of_run, raw, of_run)
    ConfigStore.instance().store(name=SAVED, node=OmegaConf.merge({"defaults": defaults}, node))


def one_line(error: BaseException) -> str:
    """Word an error of Hydra or OmegaConf in one line, with the key that was probably meant."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and key:
        known: Any = list(cause.parent_node) if isinstance(cause.parent_node, DictConfig) else []
        return f"{key}: no such key; {suggest(key.rpartition('.')[2], known)}"
    first, *more = str(cause).split("\n")
    reason = f"{first} {more[0]}" if first.endswith(":") and more else first  # the reason stands below
    return " ".join(reason.split()) or type(error).__name__


def tell(composition: Composition, what: str, multirun: bool) -> int:
    """Print what ``--info`` asks for, as Hydra does: the search path, the defaults list, plugins, the configuration."""
    mode = RunMode.MULTIRUN if multirun else RunMode.RUN
    Hydra("medtrain", composition.loader).show_info(what, composition.primary, composition.tokens, mode)
    return 0


def resolved(cfg: DictConfig) -> DictConfig:
    """Copy a configuration, resolved, without the hydra node, and settled for features and targets.

    Raises:
        UsageError: an interpolation that leads nowhere.
    """
    container: Any = OmegaConf.to_container(cfg, resolve=False)
    hydra = container.pop("hydra", None) or {}
    words = OverridesParser.create().parse_overrides((hydra.get("overrides") or {}).get("task") or [])
    copy = OmegaConf.create(container)
    try:
        OmegaConf.resolve(copy)
        plain = OmegaConf.to_container(copy, resolve=False)
    except OmegaConfBaseException as error:
        raise UsageError(str(error).split("\n")[0]) from error
    for key, value in strangers.leaves(plain):
        if isinstance(value, str) and "${" in value:  # who reads it next would resolve it once more
            raise UsageError(f"{key}={value[:80]}: a value can't hold '${{' (it starts an interpolation)")
    features.settle(copy)
    targets.settle(copy, {word.key_or_group for word in words})
    return copy

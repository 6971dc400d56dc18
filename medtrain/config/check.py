"""Check strictly: every key and value of a composed configuration against what the package ships.

Nodes that carry a ``_target_`` are open to arguments of that target, which `allowed` checks by its signature; all
others know their keys and what these may hold (`schema`): a misspelt one never passes, be it in a YAML file or after
``+``.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from medtrain.config import allowed, features, schema, search, strangers
from medtrain.core.words import suggest
from medtrain.io.yaml_file import read_yaml

GROUPS_OF_TARGETS = ("callbacks", "logger")  # nodes that hold named targets: more may be added
UNNEEDED = ("experiment", "encoder")
MISSING = "???"
MOST = 2**63 - 1  # as a whole number
Plain = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A fault of the configuration: the command-line word behind it ('' if a file), what is wrong, its key."""

    token: str
    text: str
    key: str = ""

    def __str__(self) -> str:
        return self.text


def reference(cfg: Plain, choices: dict[str, str | None], saved: Plain | None) -> Plain:
    """Read what the package ships for these options; for a user's own data or task option, that of its `name`.

    Args:
        cfg: the composed configuration.
        choices: {group: option}; of a saved run only those chosen anew.
        saved: the run's configuration that it started from, whose leaf builders count as shipped.
    """
    base = _read(search.packaged_folder() / f"{search.PRIMARY}.yaml")
    base = {k: v for k, v in base.items() if k not in ("defaults", "hydra")}
    for group in search.packaged_groups():
        node = cfg.get(group)
        name = node.get("name") if isinstance(node, dict) and group in ("data", "task") else None
        shipped = {file.stem for file in search.packaged_options(group)}
        choice = next((c for c in (choices.get(group), name) if isinstance(c, str) and c in shipped), None)
        if choice is None and group in ("trainer", "eval"):
            choice = {"trainer": "auto", "eval": "default"}[group]  # every option of these has the same keys
        if choice is not None:
            option = _option(group, choice)
            _merge(base, option if group == "task" else {group: option})  # a task may set keys of other groups
        elif saved is not None and group in saved:
            base[group] = saved[group]
        elif node is not None:
            base[group] = node  # a user's own leaf builder: its target's signature tells
    return base


def _file(group: str, name: str) -> Path:
    return search.packaged_folder() / group / f"{name}.yaml"


def _read(file: Path) -> Plain:
    return deepcopy(_packaged(file)) if file.is_relative_to(search.packaged_folder()) else dict(read_yaml(file) or {})


@cache
def _packaged(file: Path) -> Plain:
    return dict(read_yaml(file) or {})


def _option(group: str, name: str) -> Plain:
    """Read a packaged option with those of its own group that it builds on."""
    raw = _read(_file(group, name))
    merged: Plain = {}
    for item in raw.pop("defaults", ["_self_"]):
        if isinstance(item, str):
            _merge(merged, raw if item == "_self_" else _option(group, item))
    return merged or raw


def _merge(into: Plain, more: Plain) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def check(cfg: Plain, base: Plain, overrides: list[Override], *, signatures: bool = False) -> list[Fault]:
    """List all faults about keys, types, missing values, target names and combinations.

    Args:
        cfg: the composed configuration.
        base: what the package ships, see `reference`.
        overrides: of the command line.
        signatures: import what each `_target_` names, and check its arguments too.
    """
    lines = {o.key_or_group: str(o.input_line) for o in overrides}
    added = {o.key_or_group for o in overrides if o.is_add() or o.is_force_add()}
    if faults := [replace(fault, token=lines.get(fault.key, "")) for fault in no_maps(cfg)]:
        return faults  # what follows looks into them
    faults = _walk(cfg, base, "", lines, added) + _taken_out(base, overrides)
    faults += [Fault("", text) for text in allowed.check_names(cfg)]
    faults += _arguments(cfg, {fault.key for fault in faults}, lines) if signatures else []
    faults += _endless(cfg, {fault.key for fault in faults}, lines)
    return faults + _combination(cfg)


def no_maps(cfg: Plain) -> list[Fault]:
    """List the groups whose node is no map, such as ``model: 5`` in a file."""
    groups = [group for group in search.packaged_groups() if group not in UNNEEDED and group in cfg]
    return [
        Fault("", f"{group}={cfg[group]}: not a map of keys and values", group)
        for group in groups
        if not isinstance(cfg[group], dict)
    ]


def value_faults(cfg: Plain, base: Plain) -> list[Fault]:
    """List the faults of keys and values alone, of a configuration that no command-line word has changed."""
    return _walk(cfg, base, "", {}, set())


def _taken_out(base: Plain, overrides: list[Override]) -> list[Fault]:
    """Refuse ``~key`` of what is needed: all but named targets, arguments of a target, and keys of open maps."""
    faults = []
    for override in overrides:
        key = override.key_or_group
        group, *below = key.split(".")
        node: Any = base.get(group)
        for part in below[:-1]:
            node = node.get(part) if isinstance(node, dict) else None
        is_strict = isinstance(node, dict) and "_target_" not in node and below and below[-1] in node
        is_argument = bool(below) and below[-1] != "_target_" and not is_strict
        if not override.is_delete() or group in (*GROUPS_OF_TARGETS, *UNNEEDED) or is_argument:
            continue
        options = search.option_files().get(key)
        value = f"={_choice(options)}" if options else "=... or, where there may be none, null"
        faults.append(
            Fault(str(override.input_line), f"{override.input_line}: {key} is needed; write {key}{value}", key)
        )
    return faults


def _choice(options: Any) -> str:
    return "none" if "none" in options else f"OPTION ({', '.join(sorted(options))})"


def _endless(cfg: Plain, known: set[str], lines: dict[str, str]) -> list[Fault]:
    """Refuse what no number can be (nan, inf, beyond 64 bits), but for keys with a fault already and trusted code."""
    own = allowed.trusted_nodes(cfg)
    return [
        Fault(lines.get(key, ""), f"{lines.get(key) or f'{key}={value}'}: {wrong}", key)
        for key, value in strangers.leaves(cfg)
        if (wrong := _beyond(value)) and key not in known and not key.startswith(own)
    ]


def _beyond(value: Any) -> str:
    """Say why no computation can take a number; '' if one can."""
    if isinstance(value, float) and not isfinite(value):
        return "it is no finite number"
    return "it is beyond what 64 bits hold" if isinstance(value, int) and abs(value) > MOST else ""


def _arguments(cfg: Plain, known: set[str], lines: dict[str, str]) -> list[Fault]:
    """List faults that signatures show in the targets' arguments, but for keys that have one already."""
    faults = [fault for fault in allowed.argument_faults(cfg) if fault.key not in known]
    return [Fault(lines.get(f.key, ""), f.text(lines.get(f.key)), f.key) for f in faults]


def _walk(node: Plain, base: Plain, path: str, lines: dict[str, str], added: set[str]) -> list[Fault]:
    faults: list[Fault] = []
    for key, value in node.items():
        here = f"{path}{key}"
        if key in base:
            faults += _value(here, value, base[key], lines, added)
        elif _is_open(node, base, path, value) and not (here in lines and here not in added):
            continue
        else:
            advice = suggest(str(key), [str(k) for k in base if k != "_target_"])
            if "_target_" in base and here in lines:
                advice += f" (an argument of its _target_ is added with +{here}=...)"
            faults.append(Fault(lines.get(here, ""), f"{lines.get(here) or here}: no such key; {advice}", here))
    return faults


def _is_open(node: Plain, base: Plain, path: str, value: Any) -> bool:
    """Tell whether this node may hold keys that the package doesn't ship."""
    if "_target_" in node or (path and not base):
        return True
    named_target = value is None or (isinstance(value, dict) and "_target_" in value)
    return path.rstrip(".") in GROUPS_OF_TARGETS and named_target


def _value(here: str, value: Any, shipped: Any, lines: dict[str, str], added: set[str]) -> list[Fault]:
    if isinstance(value, dict) and isinstance(shipped, dict):
        if value.get("_target_") != shipped.get("_target_"):
            return []  # another target than the packaged one: its signature tells
        return _walk(value, shipped, here + ".", lines, added)
    if value is None and here.rpartition(".")[0] in GROUPS_OF_TARGETS:
        return []  # switched off
    if value == MISSING:
        return [Fault("", f"{here} is needed: add {here}=...", here)]
    if here.partition(".")[0] in allowed.SLOTS and not isinstance(shipped, dict) and schema.rule(here) is None:
        return []  # an argument: its target's signature tells
    wrong = schema.wrong(here, value, None if shipped == MISSING else shipped)
    return [Fault(lines.get(here, ""), f"{lines.get(here) or f'{here}={value}'}: {wrong}", here)] if wrong else []


def _combination(cfg: Plain) -> list[Fault]:
    """Refuse options that don't go together with the task, e.g. a 2D network for volumes."""
    task = cfg.get("task") or {}
    faults = []
    for group in ("data", "model", "loss", "sampler", "augment"):
        node = cfg.get(group) or {}
        kind, wanted = node.get("kind"), task.get("kind")
        if group == "model" and features.on_features(cfg) and features.KIND in _kinds(kind):
            continue
        if kind is not None and wanted is not None and wanted not in _kinds(kind):
            files = search.option_files().get(group, {})
            fitting = [name for name, file in files.items() if wanted in _kinds(_read(file).get("kind", wanted))]
            what = node.get("name") or str(node.get("_target_")).rpartition(".")[2]
            text = (
                f"{group}={what} is for {' and '.join(_kinds(kind))} tasks, task={task.get('name')} is a {wanted} task"
            )
            faults.append(Fault("", f"{text}; {group} can be: {', '.join(sorted(fitting))}"))
    return faults


def kinds_of(group: str, name: str) -> list[str]:
    """List the kinds of tasks that an option fits; of a task its own. [] where no option says so."""
    file = search.option_files().get(group, {}).get(name)
    if file is None:
        return []
    node = _option(group, name) if file.is_relative_to(search.packaged_folder()) else _read(file)
    return _kinds(node[group]["kind"] if group == "task" else node["kind"]) if "kind" in node or group in node else []


def usual_option(group: str) -> str | None:
    """Name the option of a group that the packaged configuration takes."""
    items = _read(search.packaged_folder() / f"{search.PRIMARY}.yaml")["defaults"]
    return next((item[group] for item in items if isinstance(item, dict) and group in item), None)


def _kinds(kind: Any) -> list[str]:
    """List the kinds of tasks that an option fits: one, or several."""
    return [str(one) for one in kind] if isinstance(kind, list) else [str(kind)]


def blame_files(faults: list[Fault], configs: ConfigLoaderImpl, primary: str, tokens: list[str]) -> None:
    """Say which file a fault stands in, where no command-line word brought it; changes `faults` in place."""
    if not any(f.key and not f.token for f in faults):
        return
    defaults = configs.compute_defaults_list(primary, tokens, RunMode.RUN).defaults
    for i, fault in enumerate(faults):
        if fault.key and not fault.token:
            for item in reversed(defaults):
                loaded = configs.repository.load_config(item.config_path) if item.config_path else None
                prefix = f"{item.package}." if item.package else ""
                if loaded is None or loaded.provider in ("hydra", "schema") or not fault.key.startswith(prefix):
                    continue
                key = fault.key.removeprefix(prefix)
                if OmegaConf.select(loaded.config, key, throw_on_missing=False, default=None) is not None:
                    file = f"{item.config_path}.yaml"
                    faults[i] = replace(fault, token=file, text=f"{file}: {fault.text}")
                    break

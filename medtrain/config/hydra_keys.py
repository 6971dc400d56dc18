"""Which of Hydra's own keys do something here; the others are refused rather than ignored."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from medtrain.config import search, strangers
from medtrain.config.loader import differing, plain_node, shipped_node
from medtrain.core.words import nearest, suggest

USED = ("run.dir", "sweep.dir", "sweep.subdir", "launcher", "sweeper", "searchpath", "job.name", "job.config")
OF_A_SWEEP = ("launcher", "sweeper", "sweep", "callbacks")
GROUPS = ("launcher", "sweeper")
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
INSTEAD = {
    "mode": "write -m for a sweep",
    "verbose": "debug=true prints tracebacks, and a run's train.log has the rest",
    "job.chdir": "a run works in the folder where it was started, and writes into its own",
    "output_subdir": "what Hydra would save is in the run folder: config.yaml, and run.json with the overrides",
    "job.env_set": "set the variable in the shell, before medtrain",
    "job.env_copy": "set the variable in the shell, before medtrain",
    "job_logging": "a run's log is train.log in its folder",
    "hydra_logging": "a run's log is train.log in its folder",
    "help": "see medtrain --help",
    "hydra_help": "see medtrain --help",
    "callbacks": "callbacks=... and callbacks.NAME are those of a training; Hydra's own count in a sweep (-m)",
}


def faults(cfg: DictConfig, overrides: Sequence[Override], multirun: bool) -> list[tuple[str, str]]:
    """List (word, text) of all keys of a composed hydra node that are set and do nothing here.

    Args:
        cfg: with the hydra node.
        overrides: of the command line; a key that none of them names is a file's.
        multirun: the command is a sweep.
    """
    set_keys = differing(plain_node(cfg), shipped_node())
    set_keys += ["mode"] * any(o.key_or_group == "hydra.mode" for o in overrides)
    lines = {o.key_or_group: str(o.input_line) for o in overrides}
    listed = []
    for key in dict.fromkeys(_named(key) for key in set_keys):
        word = next((lines[k] for k in lines if _is_below(f"hydra.{key}", k.replace("/", "."))), f"hydra.{key}")
        if text := _fault(key, lines, multirun):
            listed.append((word, f"{word}: {text}"))
    return listed


def _named(key: str) -> str:
    """Shorten a key to what people know: a whole launcher, a whole sweeper, one callback."""
    first = key.partition(".")[0]
    return first if first in (*GROUPS, "callbacks", "job_logging", "hydra_logging") else key


def _is_below(key: str, other: str) -> bool:
    return key == other or key.startswith(other + ".") or other.startswith(key + ".")


def _fault(key: str, lines: dict[str, str], multirun: bool) -> str:
    alike = key if key in INSTEAD else key.rpartition(".")[0]
    if key == "run.dir" and multirun:
        return "the jobs of a sweep lie in its folder, hydra.sweep.dir"
    if multirun and key == "callbacks":
        return ""
    if any(_is_below(key, used) for used in USED):
        if not multirun and key.partition(".")[0] in OF_A_SWEEP and "hydra/launcher" not in lines:
            return "counts in a sweep only: add -m" + (", or name the run by hydra.run.dir" * (key == "sweep.dir"))
        return ""
    return f"does nothing here; {INSTEAD.get(alike) or 'of hydra there are: ' + ', '.join(USED)}"


def word_faults(overrides: Sequence[Override], configs: ConfigLoaderImpl) -> list[tuple[str, str]]:
    """List (word, text) of launchers and sweepers that are not there, of other groups, and of keys taken out."""
    listed = []
    for override in overrides:
        line, group = str(override.input_line), override.key_or_group
        kind = group.removeprefix("hydra/")
        if override.is_delete() and override.is_hydra_override():
            listed.append((line, f"{line}: Hydra's own keys can't be taken out; give {group} a value"))
        elif group in FOLDERS and not override.is_sweep_override() and override.value() in (None, ""):
            listed.append((line, f"{line}: it names a folder; leave it out for one that is named by the time"))
        elif not group.startswith("hydra/"):
            continue
        elif kind not in GROUPS:
            text = INSTEAD.get(kind) or suggest(kind, GROUPS)
            shipped = {"job_logging": "none", "hydra_logging": "none"}
            if override.value() != shipped.get(kind, override):
                listed.append((line, f"{line}: does nothing here; {text}"))
        else:
            names = [name for name in configs.get_group_options(group) if not name.startswith("_")]
            values = override.sweep_string_iterator() if override.is_discrete_sweep() else [override.value()]
            listed += [(line, _no_plugin(group, str(value), names)) for value in values if str(value) not in names]
    return listed


def _no_plugin(group: str, name: str, names: list[str]) -> str:
    there = f"there are: {', '.join(names)}{nearest(name, names)}"
    return f"{group}={name}: no such {group.removeprefix('hydra/')}; {there}"


def in_full(word: str) -> str:
    """Write a word as Hydra takes it: parameters of a sweeper are added, and a group that is null is taken out."""
    group, _, value = word.partition("=")
    if value == "null" and group in search.option_files() and not group.startswith("hydra/"):
        return f"~{group}"
    return f"++{word}" if word.startswith("hydra.sweeper.params") else word


def bare(word: str) -> str:
    """Write a word about what is there from the start without a + before it, so that it is seen by its name.

    Such are the groups, the folders of runs and sweeps, and what is said of one start.
    """
    key = word.partition("=")[0].lstrip("+")
    there = key in (*strangers.OF_A_START, *FOLDERS, "task", "trust", "verb") or key in search.option_files()
    return word.lstrip("+") if there else word

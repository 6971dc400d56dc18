"""What a configuration that nobody vouches for may say: a run's config.yaml, a sweep's words, ``./medtrain_configs``.

A run folder is a thing people mail, and a working folder is unpacked from an archive. What lies there describes a
network and its training; it runs no code, reads no secret, and that of a run sends or writes nothing to a place of its
own choice (docs/configuration.md has what counts from where). What a person may say on the command line, in the
environment or in a folder of their own (`search.vouched_folder`)
counts when they say it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.io.cache_root import cache_root
from medtrain.io.yaml_file import read_yaml

OF_A_START = ("resume", "run", "runs", "input", "output", "name", "format", "debug", "cache", "compare", "sweep")
"""Root keys that say what one start of the program is to do."""
OF_HYDRA = ("hydra", "defaults")  # keys that Hydra would act upon
TRAINED_WITH = ("logger", "callbacks")  # groups that only a training builds, and that write
VOUCH = "name its folder by MEDTRAIN_CONFIG_DIR or --config-dir, or in trust=[...], if you know it"

# to another key: ${data.image_size}, ${oc.select:task.epochs,10}
_REFERENCE = re.compile(r"(?<!\\)\$\{(?:\.*[\w.\[\]]+|oc\.select:[\w.]+(?:,[\w.-]+)?)\}")
_HYDRA = re.compile(r"(^|[\s/@.])hydra([/@.:]|$)")
_PLACE = re.compile(r"dir|path|folder|file|ur[il]|host|server|endpoint", re.IGNORECASE)
_OUTSIDE = re.compile(r"^[/\\~$%]|^[A-Za-z]:[\\/]|(^|[/\\])\.\.($|[/\\])")
_WORD_OF_LAUNCH = re.compile(
    r"hydra/(launcher|sweeper)=\w+|"
    r"hydra\.launcher\.(partition|account|time|memory|gpus|cpus|parallel|warn_s|max_requeues)='?[\w.:-]+'?"
)

Plain = Mapping[str, Any]


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Go through {key with dots: value} of a plain configuration, keys that are no text included."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        yield path, node
    else:
        for key, value in items:
            yield from leaves(value, f"{path}.{key}" if path else str(key))


def check_saved(saved: Plain, file: Path) -> None:
    """Check the configuration of a run as it was read.

    Raises:
        UsageError: Hydra's own keys, or anything that is yet to be resolved: what a run saves has neither.
    """
    for key in OF_HYDRA:
        if key in saved:
            raise UsageError(f"{file}: {key}: no part of a run's configuration, and it is not carried out; take it out")
    for key, value in _texts(saved):
        if "${" in value:
            raise UsageError(
                f"{file}: {key}={value[:80]}: a saved configuration is resolved, so '${{' is refused; write the value"
            )


def check_option(plain: Any, name: str, header: str, file: Path) -> None:
    """Check a configuration file of a folder that nobody vouches for.

    Args:
        plain: its content.
        name: group and option, such as ``experiment/mine``.
        header: its ``@package``, '' without one.

    Raises:
        UsageError: it would set Hydra's own keys, or calls a resolver (one reads the environment).
    """
    content = plain if isinstance(plain, Mapping) else {}
    defaults = content.get("defaults") or []
    wanted = [name, header, *(str(part) for item in _items(defaults) for part in _parts(item))]
    if "hydra" in content or any(_HYDRA.search(text) for text in wanted):
        raise UsageError(
            f"{file}: the hydra node (launchers, sweepers, callbacks, folders) counts from the command line and from a "
            f"folder that you vouch for, not from one that lies here: {VOUCH}"
        )
    for key, value in _texts(plain):
        if "${" in _REFERENCE.sub("", value):
            raise UsageError(
                f"{file}: {key}={value[:80]}: only other keys can be referred to here, as in ${{data.image_size}}; for "
                f"more, {VOUCH}"
            )


def _items(defaults: Any) -> list[Any]:
    return defaults if isinstance(defaults, list) else [defaults]


def _parts(item: Any) -> list[Any]:
    return [part for pair in item.items() for part in pair] if isinstance(item, Mapping) else [item]


def _texts(node: Any) -> Iterator[tuple[str, str]]:
    """Go through all texts, keys and values, with the place of each."""
    for path, value in leaves(node):
        if isinstance(value, str):
            yield path, value
        if "${" in path:
            yield path, path


def is_vouched_for(value: Any) -> bool:
    """Tell whether the environment, or a folder that the person vouches for, says the same."""
    if str(value) in os.environ.values():
        return True
    folder = search.vouched_folder()
    files = folder.rglob("*.yaml") if folder is not None else ()
    return any(str(value) == str(own) for file in files for _, own in leaves(read_yaml(file)))


def refuse_addresses(saved: Plain, file: Path, given: Plain, *, training: bool) -> None:
    """Refuse what a saved configuration sends or writes to, unless somebody else says the same.

    Args:
        file: it stands in.
        given: the overrides of the command line, {key: value}; what they set is theirs.
        training: loggers and callbacks will be built.

    Raises:
        UsageError: the first such place, and how to say it.
    """
    shipped = {
        value
        for group in TRAINED_WITH
        for path in search.packaged_options(group)
        for _, value in leaves(read_yaml(path))
    }
    for key, value in leaves(saved):
        group = key.partition(".")[0]
        if not isinstance(value, str) or value in shipped or _is_given(key, given):
            continue
        if group in TRAINED_WITH and not training:
            continue
        if is_address(key, value) and not is_vouched_for(value):
            advice = f"add {key}='{value}' if it is right" if group in TRAINED_WITH else "say it by the environment"
            raise UsageError(
                f"{file}: {key}={value}: a saved run sends and writes to no place of its own; {advice}, or name the "
                "folder of a configuration that says the same by MEDTRAIN_CONFIG_DIR"
            )


def is_address(key: str, value: str) -> bool:
    """Tell whether the value of a key names a place to send or write to."""
    group, _, rest = key.partition(".")
    if rest.endswith("_target_"):
        return False
    if group == "logger" and rest:
        return True
    return "://" in value or (group == "callbacks" and bool(_PLACE.search(rest) or _OUTSIDE.search(value)))


def _is_given(key: str, given: Plain) -> bool:
    parts = key.split(".")
    return any(".".join(parts[: n + 1]) in given for n in range(len(parts)))


def settle(saved: dict[str, Any], file: Path, given: Plain) -> list[str]:
    """Take out, in place, what a run's configuration can't say for this start; returns what was, to be told."""
    notes, shipped = [], read_yaml(search.packaged_folder() / f"{search.PRIMARY}.yaml")
    for key in OF_A_START:
        if key not in saved:
            continue
        value, saved[key] = saved[key], shipped[key]
        if any(leaf not in (None, False, []) for _, leaf in leaves(value)):
            notes.append(f"{file}: {key}={value}: says what one start is to do, and doesn't count from there")
    data = saved.get("data")
    if not isinstance(data, dict):
        return notes
    cache = data.get("cache_dir")
    if cache and "data.cache_dir" not in given and not is_vouched_for(cache):
        data["cache_dir"] = None
        if cache_root(str(cache)) != cache_root():
            notes.append(f"the cache is {cache_root()}; data.cache_dir={cache} takes that of the run again")
    bags = data.get("bags")
    if bags and "data.bags" not in given and not is_vouched_for(bags) and not any(Path(str(bags)).glob("*.h5")):
        data["bags"] = None
        notes.append(
            f"{file}: data.bags={bags} holds no bags, and none are written there; data.bags=... names a folder"
        )
    return notes


def refuse_word(word: str, file: Path) -> None:
    """Check a word of a sweep that is to go on, from the file that keeps them.

    Raises:
        UsageError: it counts from the command line only.
    """
    key, _, value = word.lstrip("+~").partition("=")
    if key.startswith(("hydra.", "hydra/")):
        bad = not _WORD_OF_LAUNCH.fullmatch(word)
    else:
        texts = [text.strip(" '\"") for text in re.split(r"[,{}\[\]]|(?<=\w):(?!//)", value)]
        bad = "${" in word or "@" in key or (key in TRAINED_WITH and value[:1] == "{")
        bad = bad or any(is_address(key, text) and not is_vouched_for(text) for text in texts if text)
    if bad:
        raise UsageError(f"{file}: {word}: counts from the command line only; give it again there if it is right")

"""The configuration that a run keeps, RUN/config.yaml: read, compared with what the package ships, made whole.

Everything that starts from a run reads its configuration here, so what was cut, edited by hand or written by another
version is named here, and nobody further down meets a key that isn't there or a text for a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import allowed, check, search, strangers
from medtrain.config.migrate import migrate
from medtrain.core.errors import UsageError
from medtrain.io.files import Unreadable
from medtrain.io.yaml_file import reason_of, yaml_text

OF_EVERY_OPTION = {"data": ("name", "kind"), "task": ("name", "slice", "kind", "monitor")}  # a user's own, too
MOST = 8  # lacking keys that are named


def load_saved(run: str | Path, key: str = "run") -> DictConfig:
    """Read the configuration of a run; arguments and errors as of `read_saved`."""
    return OmegaConf.create(read_saved(run, key)[0])


def read_saved(run: str | Path, key: str = "run") -> tuple[dict[str, Any], list[str]]:
    """Read RUN/config.yaml as plain values; returns also the keys that its version did not have, now filled in.

    Args:
        run: the folder.
        key: the word of the command line that named it.

    Raises:
        UsageError: no run there, or its configuration says what none can (see `strangers`), lacks keys that every
            version has saved, or holds values of a wrong type.
    """
    file = Path(run) / "config.yaml"
    if not file.is_file():
        there = "it has no config.yaml" if Path(run).is_dir() else "no such folder"
        raise UsageError(f"{key}={run}: {there}; give the folder that a training printed, such as outputs/xray_cls/...")
    try:
        saved = OmegaConf.create(yaml_text(file))
        plain: Any = OmegaConf.to_container(saved, resolve=False)
    except Unreadable as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # YAML's errors have no common base with OmegaConf's
        raise UsageError(f"{file} is no YAML: {reason_of(error)}") from error
    if not isinstance(plain, dict) or "verb" not in plain or "task" not in plain:
        raise UsageError(f"{file}: not the configuration of a medtrain run")
    if wrong := check.no_maps(plain):
        raise UsageError(f"{file}: not the configuration of a medtrain run: {wrong[0]}")
    strangers.check_saved(plain, file)
    return plain, whole(plain, file)


def _groups() -> list[str]:
    return [group for group in search.packaged_groups() if group not in check.UNNEEDED]


def whole(plain: dict[str, Any], file: Path) -> list[str]:
    """Compare a saved configuration with the packaged one and fill in, in place, what its version did not have.

    Args:
        plain: as it was read.
        file: where it stands, for messages.

    Raises:
        UsageError: what lacks, or each key and value that can't be.
    """
    shipped = check.reference(plain, {}, plain)
    lacking = list(dict.fromkeys(_lacking(plain, shipped)))
    added = migrate(plain, lacking)
    if lost := [key for key in lacking if key not in added]:
        names = ", ".join(lost[:MOST]) + (f" and {len(lost) - MOST} more keys" if len(lost) > MOST else "")
        raise UsageError(f"{file} lacks {names}: it is damaged or cut short; put it back from a copy")
    counts = {key: value for key, value in plain.items() if key not in strangers.OF_A_START}
    if faults := check.value_faults(counts, shipped):
        raise UsageError("\n".join(f"{file}: {fault}" for fault in faults))
    return added


def _lacking(plain: dict[str, Any], shipped: dict[str, Any]) -> Iterator[str]:
    """List the keys that lack: groups, their targets, names of a source, and what is shipped in other nodes."""
    for group in _groups():
        if group not in plain:
            yield group
        elif group in allowed.SLOTS and group not in check.GROUPS_OF_TARGETS and "_target_" not in plain[group]:
            yield f"{group}._target_"
        else:
            yield from (f"{group}.{key}" for key in OF_EVERY_OPTION.get(group, ()) if key not in plain[group])
    yield from _lacking_keys(plain, {key: node for key, node in shipped.items() if key not in allowed.SLOTS}, "")


def _lacking_keys(node: dict[str, Any], shipped: dict[str, Any], path: str) -> Iterator[str]:
    for key, value in shipped.items():
        if key not in node:
            yield f"{path}{key}"
        elif isinstance(value, dict) and isinstance(node[key], dict):
            yield from _lacking_keys(node[key], value, f"{path}{key}.")

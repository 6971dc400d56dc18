"""Where configurations come from: the user's folder first, then the package's."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

PRIMARY = "train"
PACKAGE = "medtrain.configs"


def user_folder() -> Path | None:
    """Find `MEDTRAIN_CONFIG_DIR`, else ``./medtrain_configs`` where there is one."""
    named = os.environ.get("MEDTRAIN_CONFIG_DIR")
    if named:
        return Path(named).expanduser().resolve()
    here = Path("medtrain_configs")
    return here.resolve() if here.is_dir() else None


def vouched_folder() -> Path | None:
    """Find the user's folder if they vouch for it: named by `MEDTRAIN_CONFIG_DIR` or in `trust`, not merely lying here.

    Its modules may be targets, and its files may set Hydra's own keys.
    """
    folder = user_folder()
    named = os.environ.get("MEDTRAIN_CONFIG_DIR") or (folder is not None and folder.name in trusted_names())
    return folder if named else None


def trusted_names() -> list[str]:
    """List what the person at the keyboard vouches for by name: prefixes of modules, or ``medtrain_configs``."""
    return [name for name in os.environ.get("MEDTRAIN_TRUST", "").split(",") if name]


def packaged_folder() -> Path:
    return Path(str(resources.files(PACKAGE)))


def packaged_options(group: str) -> list[Path]:
    """List the files of a group that the package ships."""
    return list(_packaged_options().get(group, {}).values())


@cache
def packaged_groups() -> list[str]:
    """List the groups that make up a configuration, without Hydra's own and the experiments."""
    names = sorted(p.name for p in packaged_folder().iterdir() if p.is_dir() and any(p.glob("*.yaml")))
    return [name for name in names if name not in ("hydra", "experiment")]


def is_group(path: str) -> bool:
    """Tell whether a path within a folder of configurations, such as ``hydra/launcher``, can be of a group's options.

    Only the package's groups can: a folder that is called like a key (``run``) would else hide the key.
    """
    first = path.strip("/").partition("/")[0]
    return not first or first in (*packaged_groups(), "hydra", "experiment")


def passed_over() -> list[str]:
    """List folders of the user's with YAML files that are no group's, and so hold no options."""
    folder = user_folder()
    inner = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
    return [path.name for path in inner if not is_group(path.name) and path.is_dir() and any(path.glob("*.yaml"))]


def option_files() -> dict[str, dict[str, Path]]:
    """List {group: {option: file}}, nested groups as ``hydra/launcher``; a user's file wins over a packaged one."""
    options = {group: dict(files) for group, files in _packaged_options().items()}
    folder = user_folder()
    for group, files in (_options_in(folder) if folder is not None else {}).items():
        options.setdefault(group, {}).update(files)
    return options


@cache
def _packaged_options() -> dict[str, dict[str, Path]]:
    return _options_in(packaged_folder())  # asked for each word of a command line, and the package stays as it is


def _options_in(root: Path) -> dict[str, dict[str, Path]]:
    options: dict[str, dict[str, Path]] = {}
    for file in sorted(root.rglob("*.yaml")):
        group = file.parent.relative_to(root).as_posix()
        if group != "." and is_group(group) and not file.name.startswith("_") and file.is_file():
            options.setdefault(group, {})[file.stem] = file
    return options


def first_comment(file: Path) -> str:
    """Read what an option says of itself: its first comment line that is no ``@package`` directive."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.lstrip("# ")
        if not line.startswith("#"):
            break
        if text and not text.startswith("@package"):
            return text.strip()
    return ""

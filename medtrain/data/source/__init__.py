"""Sources: where rows come from, a file for each `data.name`, found by looking.

A source is a function of its file's name that is marked ``@Source(...)``: from the data node to a `Manifest`. What the
mark says (which keys name files or folders, who makes batches of the rows) is read off the file without importing it:
the command line asks before it composes a configuration, and readers of tables and pictures take seconds to import.
Who quotes, resolves, compares or hashes paths asks here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from medtrain.core.errors import UsageError

Rows = TypeVar("Rows", bound=Callable[..., Any])


@dataclass(frozen=True)
class PathKey:
    """A key of a data node whose value is a path, or a list of paths.

    Args:
        holds_data: a file whose bytes say what the cases are and how they are labelled.
        below: the key of the folder in which a path lies that is not there from the working folder.
    """

    name: str
    holds_data: bool = False
    below: str | None = None

    def absolute(self, node: Mapping[str, Any]) -> Any:
        """Resolve what `node` has for this key against the working folder; null and `???` stay."""
        value = node.get(self.name)
        if isinstance(value, str):
            return self._resolved(value, node) if value not in ("", "???") else value
        return None if value is None else [self._resolved(str(path), node) for path in value]

    def _resolved(self, text: str, node: Mapping[str, Any]) -> str:
        root = node.get(self.below) if self.below else None
        return str((below(Path(str(root)).expanduser(), text) if root else Path(text).expanduser()).absolute())


TABLE, FILE = PathKey("table", holds_data=True), PathKey("file", holds_data=True)
ROOT, BAGS, SLIDES, TISSUE = PathKey("root"), PathKey("bags"), PathKey("slides"), PathKey("tissue")
SLIDE_TABLE = PathKey("slide_table", holds_data=True)
ANNOTATIONS = PathKey("annotations", holds_data=True, below="root")
IMAGES = PathKey("images", below="root")
ENCODED = ("images", "volumes")  # batches of cases that an encoder can turn into bags; slides always are
CACHE = PathKey("cache_dir")  # of every source, and no part of its data


class Source:
    """What can be said of a source before it is imported; marks the function that gives its rows.

    Args:
        paths: the keys of its data node that name files or folders, in the order in which they are read.
        batches: the file of `medtrain.data.batches` that makes batches of its rows.
        takes: further arguments of the data module that are built from config groups of these names.
        synthetic: its cases are made up by the program.
    """

    def __init__(self, *paths: PathKey, batches: str, takes: tuple[str, ...] = (), synthetic: bool = False) -> None:
        self.paths, self.batches, self.takes, self.synthetic = paths, batches, takes, synthetic

    def __call__(self, rows: Rows) -> Rows:
        return rows

    def features_with(self, encoder: Any) -> bool:
        """Tell whether cases become bags of features by this encoder node: pictures and volumes where there is one."""
        return bool(encoder) and self.batches in ENCODED


@cache
def sources() -> dict[str, Source]:
    """Find the sources there are, by name."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {file.stem: mark for file in files if (mark := _mark_of(file)) is not None}


def _mark_of(file: Path) -> Source | None:
    """Evaluate the mark of a file as this module would, without what else the file imports; None without one."""
    for part in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(part, ast.FunctionDef) and part.name == file.stem:
            for mark in part.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == Source.__name__:
                    made: Source = eval(compile(ast.Expression(mark), str(file), "eval"), globals())
                    return made
    return None


@cache
def path_names() -> frozenset[str]:
    """Name all keys of any source that hold paths."""
    return frozenset(key.name for key in _all_keys())


def _all_keys() -> dict[PathKey, None]:
    return dict.fromkeys(key for keys in (*(source.paths for source in sources().values()), (CACHE,)) for key in keys)


def declared(name: str) -> Source:
    """Look up the source of `data.name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in sources():
        raise UsageError(f"data.name={name} is none of {', '.join(sources())}")
    return sources()[name]


def reader(name: str) -> Callable[..., Any]:
    """Import the function that gives the rows of `data.name`: (data node, spec of a trained model or None, progress)
    to a `Manifest`; errors as of `declared`."""
    declared(name)
    read: Callable[..., Any] = getattr(import_module(f"{__name__}.{name}"), name)
    return read


def path_keys(name: str) -> tuple[PathKey, ...]:
    """Look up the path keys of `data.name`; errors as of `declared`."""
    return declared(name).paths


def first_path(cfg: Mapping[str, Any]) -> str:
    """Name the table, file or folder that rows come from first; the source itself where its data node names none."""
    named = next(filter(None, (cfg.get(key.name) for key in path_keys(str(cfg["name"])))), cfg["name"])
    return str(named if isinstance(named, str) else next(iter(named)))


def files_of(node: Mapping[str, Any]) -> dict[str, list[Path]]:
    """List by key the files that are there whose bytes are part of the data of `node`."""
    files: dict[str, list[Path]] = {}
    for key in _all_keys():
        value = node.get(key.name)
        paths = [Path(str(path)) for path in ([value] if isinstance(value, str) else value or ())]
        if key.holds_data and paths and all(path.is_file() for path in paths):
            files[key.name] = paths
    return files


def moved(node: Mapping[str, Any], before: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Find the paths of `node` that lay below the folder of a run's node `before` and lie below another one now.

    Args:
        given: the overrides of the command line; a key named there stands as it is.

    Returns:
        {key: path or paths} below the new folder.
    """
    changed: dict[str, Any] = {}
    for key in path_keys(str(node["name"])):
        value, new = node.get(key.name), node.get(key.below or "")
        old = before.get(key.below or "")
        if not value or not old or not new or old == new or f"data.{key.name}" in given:
            continue
        paths = [value] if isinstance(value, str) else [str(path) for path in value]
        root = Path(str(new)).expanduser().absolute()
        placed = [str(root / Path(path).relative_to(old)) if Path(path).is_relative_to(old) else path for path in paths]
        changed[key.name] = placed[0] if isinstance(value, str) else placed
    return changed


def below(root: Path, name: Any) -> Path:
    """Find a file as people name it: from the working folder, or below `root`."""
    path = Path(str(name)).expanduser()
    return path if path.exists() else root / path

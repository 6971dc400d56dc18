"""The sources that `data.name` can mean: where the class of each is, and which of its keys name files or folders.

Who quotes, resolves, compares or hashes paths asks here. Nothing here imports torch, since the command line asks before
it composes a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError


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
ROOT, BAGS = PathKey("root"), PathKey("bags")
ANNOTATIONS = PathKey("annotations", holds_data=True, below="root")
IMAGES = PathKey("images", below="root")
CACHE = PathKey("cache_dir")  # of every source, and no part of its data


@dataclass(frozen=True)
class Source:
    """What can be said of a source before it is imported.

    Args:
        where: its LightningDataModule, as module:class below `medtrain.data`.
        paths: the keys of its data node that name files or folders, in the order in which they are read.
    """

    where: str
    paths: tuple[PathKey, ...] = ()


SOURCES = {
    "box_table": Source("boxes.sources:BoxTableData", (TABLE, ROOT)),
    "coco": Source("boxes.sources:CocoData", (ROOT, ANNOTATIONS, IMAGES)),
    "feature_bags": Source("slide.module:BagData", (TABLE, ROOT)),
    "image_folder": Source("xray.folder:FolderData", (ROOT,)),
    "image_table": Source("xray.module:ImageData", (TABLE, ROOT)),
    "medmnist": Source("xray.medmnist:MedMNISTData", (FILE,)),
    "phantom_lesion": Source("phantom.source:PhantomLesion"),
    "phantom_slide": Source("phantom.source:PhantomSlides", (BAGS,)),
    "phantom_volume": Source("phantom.source:PhantomVolume"),
    "phantom_xray": Source("phantom.source:PhantomXray"),
    "slide_table": Source("slide.slides:SlideData", (TABLE, ROOT, BAGS)),
    "voc": Source("boxes.sources:VocData", (ROOT,)),
    "volume_table": Source("volume.module:VolumeData", (TABLE, ROOT)),
    "yolo": Source("boxes.sources:YoloData", (ROOT, ANNOTATIONS)),
}
_ALL = dict.fromkeys(key for keys in (*(source.paths for source in SOURCES.values()), (CACHE,)) for key in keys)
NAMES = frozenset(key.name for key in _ALL)


def declared(name: str) -> Source:
    """Look up the source of `data.name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in SOURCES:
        raise UsageError(f"data.name={name} is none of {', '.join(sorted(SOURCES))}")
    return SOURCES[name]


def path_keys(name: str) -> tuple[PathKey, ...]:
    """Look up the path keys of `data.name`; errors as of `declared`."""
    return declared(name).paths


def files_of(node: Mapping[str, Any]) -> dict[str, list[Path]]:
    """List by key the files that are there whose bytes are part of the data of `node`."""
    files: dict[str, list[Path]] = {}
    for key in _ALL:
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

"""Bags packed one after the other in memory-mapped files, found by their content; the form that training reads.

To open an HDF5 file for each bag and epoch costs more than the network does. Here a bag is read once, checked, and
appended to a segment, ``N.bags``; a line of ``N.index`` says what it is and where. A process writes a segment of its
own, and a line only after the bytes that it names are safe on the disk, so a killed run loses the last few bags of its
work and leaves nothing torn. Bags are shared by all tables, runs and ranks that name files with the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.bags import Bag, read_bag
from medtrain.io.cache_root import writing_to
from medtrain.io.content import first_with_same, of_features
from medtrain.io.only_one import only_one
from medtrain.io.stats import stat_files

VERSION = 2
ALIGN = 64  # bytes
COMMIT_SECONDS = 2.0  # what a kill loses at most

Progress = Callable[[int, int], None]
State = tuple[str, int, int]  # hash of the path, size, time


@dataclass(frozen=True)
class Place:
    """Where a bag is, or why it is none.

    Args:
        file: of the segment; None for no bag.
        start: its first byte; coordinates follow the instances.
        identity: what its features are, by `medtrain.io.content`.
    """

    file: Path | None = None
    start: int = 0
    shape: tuple[int, ...] = (0, 0)
    dtype: str = "float32"
    has_coords: bool = False
    geometry: dict[str, Any] | None = None
    reason: str = ""
    identity: str = ""

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class PackedBags:
    """Bags by number, from memory maps that each process opens for itself.

    Attributes:
        lengths: (M,) instances of each; 0 for what is no bag.
        problems: {number: reason}.
        packed: how many files were read now.
    """

    def __init__(self, places: Sequence[Place], packed: int = 0) -> None:
        self.places, self.packed = list(places), packed
        self.lengths = np.array([place.shape[0] for place in places], np.int64)
        self.problems = {n: place.reason for n, place in enumerate(places) if place.reason}
        self._maps: dict[Path, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.places)

    @property
    def identities(self) -> list[str]:
        """What each bag is, by `medtrain.io.content`; '' of problems."""
        return [place.identity for place in self.places]

    @property
    def content(self) -> NDArray[np.int64]:
        """(M,) the number of the first bag with the same features."""
        return first_with_same(self.identities)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would be a copy of the data

    def shape(self, bag: int) -> tuple[int, ...]:
        """Of one instance: (D,), or (C, H, W) of tiles."""
        return self.places[bag].shape[1:]

    def instances(self, bag: int) -> NDArray[Any]:
        """(N, ...), a view of the file."""
        place = self.places[bag]
        return self._bytes(place)[place.start : place.stop].view(place.dtype).reshape(place.shape)

    def coords(self, bag: int) -> NDArray[np.float64] | None:
        """(N, 2), see `Bag`."""
        place = self.places[bag]
        if not place.has_coords:
            return None
        start = _aligned(place.stop)
        return self._bytes(place)[start : start + 16 * place.shape[0]].view(np.float64).reshape(-1, 2)

    def geometry(self, bag: int) -> dict[str, Any]:
        return self.places[bag].geometry or {}

    def _bytes(self, place: Place) -> NDArray[np.uint8]:
        assert place.file is not None
        if place.file not in self._maps:
            self._maps[place.file] = np.memmap(place.file, np.uint8, "r")
        return self._maps[place.file]


def pack_bags(
    paths: Sequence[str],
    root: Path,
    progress: Progress | None = None,
    *,
    report: Callable[[str], None] = lambda text: None,
    read: Callable[[Path], Bag] = read_bag,
    name: str = "features",
) -> PackedBags:
    """The bags of these files; what the store below `root` lacks is read and packed first.

    Args:
        progress: called with (done, total) files while they are read.
        read: file -> bag; ValueError why it is none.
        name: of the store: bags that another `read` makes of the same files are others.

    Raises:
        MedtrainError: the store cannot be written, or nothing here can read such files.
    """
    folder = root / "bags" / f"{name}_v{VERSION}"
    found, states = _Index(folder), _states(paths)
    todo = [n for n, state in enumerate(states) if state[1] >= 0 and found.content_of(state) is None]
    if todo:
        with writing_to(folder.parent):
            folder.mkdir(parents=True, exist_ok=True)
            with only_one(folder / "lock", report):
                found = _Index(folder)  # with what another has added while we waited
                _pack(found, [(Path(paths[n]), states[n]) for n in todo], read, progress)
        found = _Index(folder)
    missing = Place(reason="no such file, or not readable")
    contents = [found.content_of(state) for state in states]
    return PackedBags([found.places.get(content or "", missing) for content in contents], len(todo))


class _Index:
    """What the lines of a folder's index files say; what a crash has left unfinished is no line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, Place] = {}
        self.files: dict[State, str] = {}
        for file in sorted(folder.glob("[0-9]*.index")):
            segment = file.with_suffix(".bags")
            for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    self._take(json.loads(line), segment)

    def _take(self, line: dict[str, Any], segment: Path) -> None:
        self.files[(line["path"], line["size"], line["mtime"])] = line["content"]
        if "reason" in line:
            self.places.setdefault(line["content"], Place(reason=line["reason"]))
        elif "start" in line:
            more = {key: line[key] for key in ("start", "dtype", "has_coords", "geometry", "identity")}
            self.places[line["content"]] = Place(segment, shape=tuple(line["shape"]), **more)

    def content_of(self, state: State) -> str | None:
        return self.files.get(state)


def _pack(
    index: _Index, todo: list[tuple[Path, State]], read: Callable[[Path], Bag], progress: Progress | None
) -> None:
    number = max((int(file.stem) for file in index.folder.glob("[0-9]*.*")), default=0) + 1
    lines: list[str] = []
    committed = time.monotonic()
    with (
        open(index.folder / f"{number:06d}.bags", "xb") as bags,
        open(index.folder / f"{number:06d}.index", "x", encoding="utf-8") as about,
    ):

        def commit() -> None:
            bags.flush()
            os.fsync(bags.fileno())
            about.write("".join(lines))
            about.flush()
            os.fsync(about.fileno())
            lines.clear()

        for done, (path, (hashed, size, mtime)) in enumerate(todo, start=1):
            try:
                content = _digest(path)
            except OSError:
                continue  # told as a file that can't be read, and tried again next time
            line: dict[str, Any] = {"path": hashed, "size": size, "mtime": mtime, "content": content}
            if content not in index.places:
                try:
                    line |= _append(bags, read(path))
                    index.places[content] = Place()
                except ValueError as error:
                    line["reason"] = str(error)
            lines.append(json.dumps(line) + "\n")
            if time.monotonic() - committed > COMMIT_SECONDS:
                commit()
                committed = time.monotonic()
            if progress is not None:
                progress(done, len(todo))
        commit()


def _append(file: Any, bag: Bag) -> dict[str, Any]:
    """Write one bag; its part of the index line."""
    start = _pad(file)
    file.write(np.ascontiguousarray(bag.x).data)
    if bag.coords is not None:
        _pad(file)
        file.write(np.ascontiguousarray(bag.coords, np.float64).data)
    facts = {"start": start, "shape": list(bag.x.shape), "dtype": bag.x.dtype.name}
    facts |= {"has_coords": bag.coords is not None, "geometry": dict(bag.geometry)}
    return facts | {"identity": of_features(bag.x)}


def _pad(file: Any) -> int:
    file.write(b"\0" * (_aligned(file.tell()) - file.tell()))
    return int(file.tell())


def _aligned(position: int) -> int:
    return -(-position // ALIGN) * ALIGN


def _states(paths: Sequence[str]) -> list[State]:
    hashed = [hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest() for path in paths]
    return [(path, int(size), int(time)) for path, (size, time) in zip(hashed, stat_files(paths), strict=True)]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

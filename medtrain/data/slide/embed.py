"""Slides to feature bags: what is missing is read, encoded and written, a slide at a time; a bad one is recorded."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.progress import Progress
from medtrain.data.slide.bagged import Bagged, mask_note, worth_telling, written
from medtrain.data.slide.mask_files import OF_SLIDES, Given
from medtrain.data.slide.ownership import Assigned, Ownership, record_of
from medtrain.data.slide.readers import BrokenProcessPool, Readers
from medtrain.data.slide.tiles import Survey, Tiling
from medtrain.data.slide.tissue import why_none
from medtrain.io.cache_root import cache_root, writing_to
from medtrain.io.files import write_text
from medtrain.io.slide import AT_40X
from medtrain.io.store.lock import only_one
from medtrain.io.trident import read_own, write_trident

log = logging.getLogger(__name__)

TABLE, QUALITY = "embed.csv", "quality"
BAD_TILES = 0.05  # a slide of which more cannot be decoded is no slide


class Encodes(Protocol):
    """What is asked of an encoder; see `medtrain.encoder.Encoder`."""

    label: str
    random: bool

    def __call__(self, tiles_BHWC: Tensor) -> Tensor: ...

    def fingerprint(self) -> str: ...

    def to(self, *where: Any, **how: Any) -> Any: ...


@dataclass
class Embedder:
    """What one folder of bags is made with.

    Args:
        tiling: how slides are cut.
        encoder: tiles to features.
        folder: where the bags lie, one HDF5 file a slide; ``quality`` and ``embed.csv`` beside them.
        workers: reading processes; 0 reads in this one.
        batch: tiles that are encoded together, at most.
        device: where the encoder runs.
        real: are these somebody's slides, for which random weights won't do?
        progress: called with tiles done and, as far as is known, in all.
        report: takes a line on what is worth telling.
    """

    tiling: Tiling
    encoder: Encodes
    folder: Path
    workers: int = 0
    batch: int = 64
    device: str | torch.device = "cpu"
    real: bool = True
    progress: Progress | None = None
    report: Callable[[str], None] = log.info
    _done: list[int] = field(default_factory=list)
    _older: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.real and self.encoder.random:
            raise UsageError(
                f"encoder: {self.encoder.label}; features of an untrained network are no features of real slides. Give "
                "trained ones (encoder.weights=FILE or a name), or encoder=descriptor"
            )

    @classmethod
    def of(
        cls,
        cfg: Mapping[str, Any],
        encoder: Encodes,
        real: bool,
        progress: Progress | None = None,
        report: Callable[[str], None] = log.info,
        masked: bool = False,
    ) -> Embedder:
        """Read a data node: how slides are cut, ``bags``, ``num_workers``, ``tile_batch``; on a GPU where there is one.

        Without ``bags`` they are kept in the cache, apart for each encoder and way of cutting, with masks or without.
        """
        tiling = Tiling.of(cfg)
        how = [tiling.record(), encoder.fingerprint(), *["masks"] * masked]
        key = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]
        own_folder = cache_root(cfg.get("cache_dir")) / "embedded" / key
        return cls(
            tiling,
            encoder,
            Path(str(cfg["bags"])).expanduser() if cfg.get("bags") else own_folder,
            workers=int(cfg.get("num_workers") or 0),
            batch=int(cfg.get("tile_batch") or cls.batch),
            device="cuda" if torch.cuda.is_available() else "cpu",
            real=real,
            progress=progress,
            report=report,
        )

    def ensure(
        self,
        slides: Sequence[str],
        names: Sequence[str] | None = None,
        given: Given | None = None,
    ) -> list[Bagged]:
        """Make a bag of each slide where it is missing; see the fields of `Bagged`, one a slide, in order.

        Several processes may call this for one folder: one works, the others wait and find the bags there.

        Args:
            slides: paths.
            names: what each is called in the table; by default its path.
            given: what is known of them beside their files.

        Raises:
            MedtrainError: the folder holds bags of another encoder or tiling, or cannot be written.
        """
        called = names or slides
        given = given or Given()
        tilings = self.tiling.of_slides(given, len(slides))
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with only_one(self.folder / "lock", self.report):
                bags = Ownership(self.folder).assign(slides, called)
                made = [self._there(*row, given) for row in zip(slides, bags, tilings, strict=True)]
                todo = [number for number, bagged in enumerate(made) if bagged is None]
                try:
                    if todo:
                        self._make(slides, called, tilings, [assigned.bag for assigned in bags], made, todo)
                finally:
                    rows = [replace(b, slide=called[n]) for n, b in enumerate(made) if b is not None]
                    if todo and rows:
                        self._write_table(rows)
        for line in worth_telling(rows, self._older):
            self.report(line)
        self._older.clear()
        return rows

    def _how(self, tiling: Tiling) -> dict[str, Any]:
        """Say how a bag is made, which its file keeps."""
        return {"encoder": f"{self.encoder.label} {self.encoder.fingerprint()}", **tiling.record()}

    def _there(self, slide: str, assigned: Assigned, tiling: Tiling, given: Given) -> Bagged | None:
        """Say what is in the folder already; None of a bag that has to be made."""
        bag = assigned.bag
        if assigned.note:
            self.report(f"{Path(slide).name} {assigned.note}")
        if assigned.error:
            return Bagged(slide, bag.name, error=assigned.error)
        if bag.is_file() and read_own(bag) is None:
            raise MedtrainError(f"{bag} is no bag of medtrain's making; give another folder: data.bags=...")
        if assigned.own is None:
            return None
        how, now = assigned.own["how"], self._how(tiling)
        if "rule" not in how:  # before there were versions
            self._older.append(bag.name)
            how = now | how
        unlike = [key for key in now | how if how.get(key) != now.get(key)]
        known = given.names()
        if unlike and known.issuperset(unlike):
            what = " and ".join(OF_SLIDES[key] for key in unlike)
            self.report(f"{Path(slide).name} has another {what} than before: it is embedded again")
            return None
        if unlike and all(key in OF_SLIDES and key not in known and now.get(key) is None for key in unlike):
            what = " and ".join(OF_SLIDES[key] for key in unlike)
            self.report(f"{bag.name} was made with {what} of its own, which nothing names now: it is taken as it is")
        elif unlike:
            others = ", ".join(f"{key} {how.get(key)} (now {now.get(key)})" for key in unlike)
            raise MedtrainError(
                f"{bag} was made otherwise: {others}\ngive another folder, data.bags=..., or remove those in this one"
            )
        return Bagged(**assigned.own["slide"])

    def _make(
        self,
        slides: Sequence[str],
        called: Sequence[str],
        tilings: Sequence[Tiling],
        bags: list[Path],
        made: list[Bagged | None],
        todo: list[int],
    ) -> None:
        self.encoder.to(self.device)
        self._done.clear()
        with Readers(self.workers, self.tiling.px, self.batch) as readers:
            for place, number in enumerate(todo):
                for later in todo[place : place + 3]:
                    readers.expect(slides[later], tilings[later])
                started = time.perf_counter()
                twin = next((n for n in todo[:place] if bags[n] == bags[number]), None)  # the same slide, twice
                if twin is not None:
                    made[number] = made[twin]
                    continue
                bagged = self._tried(
                    readers, (slides[number], called[number]), bags[number], tilings[number], len(todo) - place - 1
                )
                made[number] = bagged
                if bagged.error:
                    self.report(f"{bagged.slide}: {bagged.error}")
                log.info(
                    "%s: %d tiles, %.1f s %s", bagged.slide, bagged.tiles, time.perf_counter() - started, bagged.error
                )
        if self.progress is not None:
            self.progress(sum(self._done), sum(self._done))

    def _tried(self, readers: Readers, names: tuple[str, str], bag: Path, tiling: Tiling, left: int) -> Bagged:
        """Embed one slide; a process that dies, of this slide or one that is looked at meanwhile, gets a second try."""
        slide, _ = names
        for alone in (False, True):
            try:
                return self._one(readers, names, bag, tiling, left)
            except ValueError as error:
                return Bagged(slide, bag.name, error=str(error))
            except BrokenProcessPool:
                readers.stop()
                if alone:
                    break
        return Bagged(
            slide, bag.name, error="a reading process died of it: too little memory, or a file that crashes its reader"
        )

    def _one(self, readers: Readers, names: tuple[str, str], bag: Path, tiling: Tiling, left: int) -> Bagged:
        from medtrain.data.slide.quality import write_quality  # late: bags that are there need no outlines

        started, (slide, _) = time.perf_counter(), names
        surveyed = readers.survey(slide, tiling)
        write_quality(self.folder / QUALITY, bag.stem, surveyed)
        if not len(surveyed.coords):
            raise ValueError(why_none(surveyed.tissue, self.tiling.min_tissue))
        features, bad = self._encode(readers, surveyed, left)
        if len(bad) > BAD_TILES * len(surveyed.coords):
            raise ValueError(f"{len(bad)} of {len(surveyed.coords)} tiles cannot be read: {next(iter(bad.values()))}")
        keep = np.setdiff1d(np.arange(len(surveyed.coords)), list(bad))
        bagged = Bagged(
            slide=slide,
            bag=bag.name,
            tiles=len(keep),
            bad_tiles=len(bad),
            tissue_mm2=round(surveyed.tissue.mm2, 4),
            pen=surveyed.tissue.pen,
            left_out=written(surveyed.tissue.removed),
            unsure=written(surveyed.tissue.doubts),
            mask=mask_note(tiling.mask, surveyed.tissue.note),
            width=surveyed.slide.sizes[0][0],
            height=surveyed.slide.sizes[0][1],
            mpp=surveyed.slide.mpp,
            scale=surveyed.slide.contradicts,
            reader=surveyed.slide.reader(surveyed.view.level),
            seconds=round(time.perf_counter() - started, 2),
        )
        own = {"how": self._how(tiling), "slide": asdict(bagged) | {"slide": Path(slide).name}, **record_of(*names)}
        write_trident(
            bag, features[keep], surveyed.coords[keep], self._attributes(surveyed, bag), self.encoder.label, own
        )
        return bagged

    def _encode(self, readers: Readers, surveyed: Survey, left: int) -> tuple[NDArray[np.float16], dict[int, str]]:
        """Encode all tiles: features, a row a tile, and the tiles that cannot be read."""
        out: NDArray[np.float16] | None = None
        bad: dict[int, str] = {}
        self._done.append(0)
        for read in readers.tiles(surveyed):
            features = self._features(torch.from_numpy(np.asarray(read.tiles)))
            if out is None:
                out = np.zeros((len(surveyed.coords), features.shape[1]), np.float16)
            out[read.rows] = features
            bad |= read.bad
            self._done[-1] += len(read.rows)
            if self.progress is not None:
                usual = (sum(self._done[:-1]) + len(surveyed.coords)) / len(self._done)
                self.progress(sum(self._done), sum(self._done[:-1]) + len(surveyed.coords) + round(left * usual) + 1)
        assert out is not None
        return out, bad

    def _features(self, tiles: Tensor) -> NDArray[np.float16]:
        on_gpu = torch.device(self.device).type == "cuda"
        with torch.autocast("cuda", torch.float16) if on_gpu else nullcontext():
            features = self.encoder(tiles.to(self.device)).float().cpu().numpy()
        if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
            raise MedtrainError(f"{self.encoder.label} gives features that are no numbers, or beyond what 16 bits hold")
        return features.astype(np.float16)

    def _attributes(self, surveyed: Survey, bag: Path) -> dict[str, Any]:
        """Give TRIDENT's attributes, by its names, and the um/px that they stand for."""
        width, height = surveyed.slide.sizes[0]
        return {
            "patch_size": surveyed.view.px,
            "patch_size_level0": round(surveyed.view.edge),
            "level0_magnification": round(surveyed.slide.magnification, 2),
            "target_magnification": round(AT_40X / self.tiling.mpp, 2),
            "overlap": 0,
            "name": bag.stem,
            "savetodir": self.folder.name,
            "level0_width": width,
            "level0_height": height,
            "mpp": surveyed.view.mpp,
            "level0_mpp": surveyed.slide.mpp,
        }

    def _write_table(self, rows: list[Bagged]) -> None:
        """Write embed.csv: these slides, and the others that it listed before."""
        table, file = pd.DataFrame([asdict(row) for row in rows]), self.folder / TABLE
        if file.is_file():
            before = pd.read_csv(file, keep_default_na=False)
            table = pd.concat([before[~before["bag"].isin(table["bag"])], table])
        write_text(file, table.sort_values("bag").to_csv(index=False))

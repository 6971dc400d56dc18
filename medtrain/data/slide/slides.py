"""Slides with labels: what `data=slide_table` names. Their bags are made where they are missing, then read as any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from medtrain.core.errors import DataError, UsageError
from medtrain.core.progress import Progress, to_stderr
from medtrain.data.slide.embed import Bagged, Embedder
from medtrain.data.slide.inputs import TABLES, InputBags
from medtrain.data.slide.module import BagData
from medtrain.data.slide.pixels import read_tiles
from medtrain.data.slide.tables import named_column
from medtrain.data.slide.tiles import Tiling
from medtrain.data.table.manifest import Manifest, manifest_of, match_patient, read_inputs_of
from medtrain.encoder import Encoder
from medtrain.io.bags import SUFFIXES
from medtrain.io.cache_root import cache_root
from medtrain.io.slide_content import slide_contents
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.io.table import RawTable, read_table
from medtrain.target import DataSpec

USUAL = ("slide", "slide_path", "path", "file", "filename", "slide_id", "image")
SLIDES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm", ".czi")


class SlideData(BagData):
    """`BagData` of the slides of a table; takes the encoder that makes their features."""

    takes: ClassVar[tuple[str, ...]] = ("encoder",)
    single = "slides"

    def __init__(self, cfg: Mapping[str, Any], *, encoder: Encoder, **options: Any) -> None:
        super().__init__(cfg, **options)
        self.encoder = encoder

    @classmethod
    def for_inputs(
        cls,
        cfg: Mapping[str, Any],
        spec: DataSpec,
        input_path: str | Path,
        progress: Progress | None = None,
        **parts: Any,
    ) -> InputSlides:
        return InputSlides(cfg, spec, Path(input_path), progress, real=not cls.synthetic, **parts)

    def table_file(self) -> Path:
        """The table; another source than a user's makes it first."""
        if not self.cfg.get("table"):
            raise UsageError("data.table is not set: give a CSV with a slide and a label column")
        return Path(str(self.cfg["table"])).expanduser()

    def listed_bags(self) -> Manifest:
        raw, cfg = self._with_path(read_table(self.table_file()))
        return manifest_of(raw, cfg, self.model_spec)

    def _with_path(self, raw: RawTable) -> tuple[RawTable, dict[str, Any]]:
        """The table, and the data node with the column of slides in it."""
        columns = dict(self.cfg.get("columns") or {})
        columns["path"] = named_column(raw, columns.get("path"), USUAL, "data.columns.path")
        return raw, {**self.cfg, "columns": columns}

    def embed(self) -> tuple[Path, list[Bagged]]:
        """Bags of all slides of the table, which needs no labels; the folder, and what became of each slide."""
        listed = read_inputs_of(*self._with_path(read_table(self.table_file())))
        embedder = Embedder.of(self.cfg, self.encoder, not self.synthetic, self.progress, self.report)
        return embedder.folder, embedder.ensure(listed.path, listed.case)

    def packed(self, manifest: Manifest) -> PackedBags:
        if self.cfg.get("tiles"):
            return tile_bags(manifest.path, self.cfg, self.progress, self.report)
        return slide_bags(
            manifest.path, manifest.case, self.cfg, self.encoder, not self.synthetic, self.progress, self.report
        )

    def identities(self, manifest: Manifest) -> list[str]:
        """The slides' own; a slide that was moved away once it was embedded is what its bag is."""
        slides = slide_contents(manifest.path, cache_root(self.cfg.get("cache_dir")))
        return [slide or bag for slide, bag in zip(slides, super().identities(manifest), strict=True)]


class InputSlides(InputBags):
    """Unlabelled slides as a trained model takes them: a slide, a folder of slides, a table; bags as `InputBags`."""

    def __init__(self, *args: Any, encoder: Encoder, real: bool, **more: Any) -> None:
        self.encoder, self.real = encoder, real
        super().__init__(*args, **more)

    def opened(self, path: Path, progress: Progress | None) -> Any:
        if not path.exists():
            raise UsageError(f"input={path}: no such file or folder")
        listed = list_slides(path, self.cfg)
        if listed is None:
            return super().opened(path, progress)
        self.slides = listed["path"].tolist()
        if self.cfg.get("tiles"):
            return tile_bags(self.slides, self.cfg, progress, to_stderr), listed
        return slide_bags(
            self.slides, listed["case"].tolist(), self.cfg, self.encoder, self.real, progress, to_stderr
        ), listed


def slide_bags(
    slides: list[str],
    names: list[str],
    cfg: Mapping[str, Any],
    encoder: Encoder,
    real: bool,
    progress: Progress | None,
    report: Callable[[str], None],
) -> PackedBags:
    """The bags of slides, by their number; what is missing is embedded; arguments as for `Embedder.of`."""
    embedder = Embedder.of(cfg, encoder, real, progress, report)
    made = embedder.ensure(slides, names)
    files = [str((embedder.folder / bagged.bag).absolute()) for bagged in made]
    problems = {number: bagged.error for number, bagged in enumerate(made) if bagged.error}
    return pack_bags(files, cache_root(cfg.get("cache_dir")), report=report, problems=problems)


def tile_bags(
    slides: list[str], cfg: Mapping[str, Any], progress: Progress | None, report: Callable[[str], None]
) -> PackedBags:
    """The tiles themselves of slides, as bags; read and packed where they are missing."""
    tiling = Tiling.of(cfg)
    name = f"tiles_{hashlib.sha256(json.dumps(asdict(tiling)).encode()).hexdigest()[:16]}"
    read, root = partial(read_tiles, tiling=tiling), cache_root(cfg.get("cache_dir"))
    return pack_bags(slides, root, progress, report=report, read=read, name=name)


def list_slides(path: Path, cfg: Mapping[str, Any]) -> pd.DataFrame | None:
    """case, patient and path of the slides of a file, a folder or a table; None where these are bags."""
    if path.is_file() and path.suffix.lower() in TABLES:
        raw = read_table(path, "input")
        columns = dict(cfg.get("columns") or {})
        wanted = columns.get("path") if columns.get("path") in raw.text.columns else None
        columns["path"] = named_column(raw, wanted, USUAL, "input")
        table = read_inputs_of(raw, {**cfg, "columns": columns, "root": None})
        if all(name.lower().endswith(SUFFIXES) for name in table.path):
            return None
        return pd.DataFrame({"case": table.case, "patient": table.patient, "path": table.path})
    if path.is_file():
        files = [] if path.suffix.lower() in SUFFIXES else [path]
    else:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SLIDES)
    if not files:
        if path.is_dir() and not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
            raise DataError(f"input={path} holds neither slides ({', '.join(SLIDES)}) nor bags ({', '.join(SUFFIXES)})")
        return None
    names = [file.name if path.is_file() else file.relative_to(path).as_posix() for file in files]
    pattern = cfg.get("patient_pattern")
    patients = [(match_patient(str(pattern), name) if pattern else None) or name for name in names]
    return pd.DataFrame({"case": names, "patient": patients, "path": [str(file.absolute()) for file in files]})

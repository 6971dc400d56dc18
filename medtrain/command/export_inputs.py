"""What an export is proven with: real cases of the run's own test split in a folder or a table, and strange ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, ListConfig

from medtrain.command import build
from medtrain.command.trained import Trained
from medtrain.config.features import on_features
from medtrain.core.covariates import FAR, Covariate
from medtrain.core.errors import MedtrainError
from medtrain.data.base import Data, Fixed
from medtrain.data.batches import module_of
from medtrain.data.changes import read_splits
from medtrain.data.rows.channels import of_channel
from medtrain.data.rows.columns import USUAL
from medtrain.data.rows.covariates import cells_of
from medtrain.data.rows.manifest import Manifest
from medtrain.export.portable import Portable
from medtrain.io.files import write_text

TABLE = "cases.csv"


def lay_out(cfg: DictConfig, run: Trained, portable: Portable, folder: Path) -> tuple[Path, int]:
    """Put real cases and strange ones into a folder, real files by links.

    Returns:
        what is to be predicted: the folder, or a table in it with what stands beside the cases; and how many are real.
    """
    kind = module_of(cfg.data)
    fixed = Fixed() if on_features(cfg) else Fixed(run.spec)  # files are listed as they are, not as their features
    parts = build.data_parts(cfg, as_read=on_features(cfg))
    data = kind(build.plain(cfg.data), fixed=fixed, report=build.warn, **parts)
    manifest, rows = real_cases(cfg, run, data)
    by_name = bool(manifest.beside) and not isinstance((cfg.data.get("columns") or {}).get("path"), ListConfig)
    if manifest.content is not None:
        contents = (manifest.content[[row]][0] for row in rows)
        files = [portable.keep(content, folder / f"{number:04d}") for number, content in enumerate(contents)]
    elif by_name:
        columns = (manifest.path, *manifest.beside)
        files = _linked_by_channel([[column[row] for row in rows] for column in columns], folder)
    else:
        files = _linked(data.files_of(manifest, rows), folder)
    if not files:
        raise MedtrainError(f"none of the {len(rows)} cases of the test split can be read: nothing to prove it with")
    portable.strange(files[0], folder)
    if by_name or (not run.spec.covariates and not manifest.beside):
        return folder, len(files)
    strange = sorted(set(folder.iterdir()) - set(files))
    of_cases = [[*files, *strange]]
    for number, column in enumerate(manifest.beside, start=2):
        further = _linked([column[row] for row in rows], folder, f"_{number}")
        of_cases.append([*further, *[further[0]] * len(strange)])  # strange ones go with the first real one, whole
    return write_table(cfg, run.spec.covariates, manifest, rows, of_cases), len(files)


def _linked(sources: Sequence[str], folder: Path, mark: str = "") -> list[Path]:
    """Link files into a folder, each with its number before its name; `mark` tells files of one case apart."""
    files = [folder / f"{number:04d}{mark}_{Path(source).name}" for number, source in enumerate(sources)]
    for link, source in zip(files, sources, strict=True):
        link.symlink_to(Path(source).absolute())
    return files


def _linked_by_channel(columns: Sequence[Sequence[str]], folder: Path) -> list[Path]:
    """Link the files of cases, a column a channel, by the names that tell channels apart; gives those of the first."""
    links = [[folder / of_channel(f"{n:04d}", c, path) for n, path in enumerate(of)] for c, of in enumerate(columns)]
    for own, sources in zip(links, columns, strict=True):
        for link, source in zip(own, sources, strict=True):
            link.symlink_to(Path(source).absolute())
    return links[0]


def write_table(
    cfg: DictConfig,
    known: Sequence[Covariate],
    manifest: Manifest,
    rows: Sequence[int],
    files: Sequence[Sequence[Path]],
) -> Path:
    """Write a table of files with the columns beside them: those of `rows` as their own table has them, then odd ones.

    Its paths are written as those of the run's tables are (`data.path_format`).

    Args:
        files: of all cases, the first of each, then further ones.
    """
    folder, form = files[0][0].parent, str(cfg.data.get("path_format") or "")
    there = [column for column in known if column.name in manifest.raw.text.columns]
    own = cells_of(manifest, [column.name for column in there]).texts
    named = (cfg.data.get("columns") or {}).get("path")
    several = [str(name) for name in named] if isinstance(named, ListConfig) else []
    single = dict.fromkeys([*([named] if isinstance(named, str) else ()), USUAL["path"][0]])
    paths = several if len(files) > 1 else list(single)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*paths, *own])
    odd = odd_cells(there)
    for number, of_case in enumerate(zip(*files, strict=True)):
        cells = [own[name][rows[number]] for name in own] if number < len(rows) else next(odd)
        first, *further = _written(of_case[0], form), *(file.name for file in of_case[1:])
        writer.writerow(([first, *further] if further else [first] * len(paths)) + cells)
    write_text(folder / TABLE, text.getvalue())
    return folder / TABLE


def odd_cells(known: Sequence[Covariate]) -> Iterator[list[str]]:
    """Give the cells of strange rows: what is unknown, what training has not seen, and what is no number."""
    beyond = [f"{column.high + 4 * FAR * (column.high - column.low) + 1:g}" for column in known]
    unseen = [
        far if column.kind == "number" else "of no case in training" for column, far in zip(known, beyond, strict=True)
    ]
    return cycle([[""] * len(known), unseen, ["x" if column.kind == "number" else "NA" for column in known]])


def _written(file: Path, form: str) -> str:
    """Write the path of a file for a table beside it, and let it lie where a form of paths makes it be sought."""
    if "{}" not in form:
        return file.name
    name = file.name.partition(".")[0]
    sought = file.parent / form.replace("{}", name)
    if not sought.exists():
        sought.parent.mkdir(parents=True, exist_ok=True)
        sought.symlink_to(file)
    return name


def real_cases(cfg: DictConfig, run: Trained, data: Data) -> tuple[Manifest, list[int]]:
    """List the cases that are compared: of `input`, else of the run's test split, evenly spread over it.

    Raises:
        MedtrainError: none of them is there.
    """
    if cfg.input is not None:
        manifest = data.arrange(data.inputs(Path(cfg.input)))
        rows = list(range(len(manifest)))
    else:
        manifest = data.listed()
        splits = read_splits(run.folder / "splits.csv")
        tested = set(splits.loc[splits["split"] == "test", "case"])
        rows = [row for row, case in enumerate(manifest.case) if case in tested]
    there = [row for row in rows if manifest.content is not None or Path(manifest.path[row]).exists()]
    if not there:
        raise MedtrainError(
            f"none of the {len(rows)} cases of the test split of {run.folder} is where it was: nothing to prove the "
            "export with; name others: input=FOLDER"
        )
    spread = np.linspace(0, len(there) - 1, min(len(there), cfg.export.cases)).round().astype(int)
    return manifest, [there[place] for place in spread.tolist()]

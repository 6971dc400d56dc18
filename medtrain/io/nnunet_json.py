"""What dataset.json says of nnU-Net's raw folder, of version 1 or 2, or of the Decathlon's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError
from medtrain.io.volume_source import FILES

FILE = "dataset.json"
IGNORE, BACKGROUND = "ignore", "background"
USUAL_ENDING = ".nii.gz"
CT = "ct"


@dataclass(frozen=True)
class Described:
    """The content of a dataset.json.

    Args:
        channels: names of the channels, in order; empty where it has none.
        labels: {number: name}, without background and ignored voxels.
        regions: {name: numbers}; empty where labels are no regions.
        ignore: the number of voxels that nobody has labelled; None for none.
        ending: of the names of images and masks.
        masks: of the images that are listed by their own names, each one's mask, both below the folder.
        listed: of the cases that are listed with all their files, these; empty where folders say what there is.
        announced: how many training cases there are, as it says; None where it doesn't.
        order: what nnU-Net writes for each region (regions_class_order); empty where it doesn't say.
    """

    channels: list[str]
    labels: dict[int, str]
    regions: dict[str, list[int]]
    ignore: int | None
    ending: str
    masks: dict[Path, Path]
    listed: dict[str, tuple[list[Path], Path]]
    announced: int | None
    order: list[int]


def read_described(root: Path) -> Described:
    """Read the dataset.json of a folder.

    Raises:
        DataError: there is none, it can't be read, or says what can't be.
    """
    file = root / FILE
    plain = _read(file)
    labels, regions, ignore = _labels(plain["labels"], file)
    announced = plain.get("numTraining")
    return Described(
        _channels(plain.get("channel_names") or plain.get("modality"), file),
        labels,
        regions,
        ignore,
        _ending(plain.get("file_ending"), file),
        _masks(plain.get("training")),
        _listed(plain.get("dataset"), file),
        announced if isinstance(announced, int) else None,
        list(plain.get("regions_class_order") or []) if regions else [],
    )


def _read(file: Path) -> Mapping[str, Any]:
    try:
        plain = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        below = sorted(path.parent.name for path in file.parent.glob(f"*/{FILE}"))
        there = f"; below it are {', '.join(below[:5])}{', ...' * (len(below) > 5)}" if below else ""
        raise DataError(
            f"{file}: not there; give nnU-Net's raw folder, nnUNet_raw/DatasetNNN_NAME, as data.root{there}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("labels"), dict):
        raise DataError(f"{file} has no labels, {{name: number}}")
    return plain


def _channels(named: Any, file: Path) -> list[str]:
    """Read the names of channels: {number: name}, or a list of names."""
    if not named:
        return []
    try:
        numbered = enumerate(named) if isinstance(named, list) else [(int(n), name) for n, name in named.items()]
        return [str(name) for _, name in sorted(numbered)]
    except (AttributeError, TypeError, ValueError):
        raise DataError(f'{file}: channel_names (modality) is {named!r}, not {{"0": name, ...}}') from None


def _labels(plain: Mapping[str, Any], file: Path) -> tuple[dict[int, str], dict[str, list[int]], int | None]:
    """Read labels, regions and the ignored number: {name: number or numbers} of version 2, {number: name} of 1."""
    numbers: dict[str, list[int]] = {}
    for name, value in plain.items():
        if str(name).isdigit() and isinstance(value, str):
            name, value = value, int(name)
        numbers[str(name)] = [_whole(number, name, value, file) for number in _members(value)]
    ignored = numbers.pop(IGNORE, [None])[0]
    if ignored == 0:
        raise DataError(f"{file}: the label 'ignore' is 0, which is background")
    marked = {name: own for name, own in numbers.items() if own != [0]}
    if not marked:
        raise DataError(f"{file} names no label but background")
    several = any(len(own) > 1 for own in marked.values())
    by_number = {own[0]: name for name, own in marked.items() if len(own) == 1}
    labels = {number: by_number.get(number, str(number)) for own in marked.values() for number in own if number}
    return dict(sorted(labels.items())), marked if several else {}, ignored


def _members(value: Any) -> list[Any]:
    return value if isinstance(value, list) and value else [value]


def _whole(number: Any, name: str, value: Any, file: Path) -> int:
    """Read a number of a mask (DataError where it is none)."""
    try:
        whole = int(number)
        if whole == float(number) and whole >= 0:
            return whole
    except (TypeError, ValueError):
        pass
    raise DataError(f"{file}: label {name!r} is {value!r}, neither a number nor a list of them")


def _ending(given: Any, file: Path) -> str:
    """Read the ending of files (DataError where volumes have no such)."""
    ending = str(given or USUAL_ENDING)
    ending = ending if ending.startswith(".") else f".{ending}"
    if ending.lower() not in FILES:
        raise DataError(
            f"{file}: file_ending is {ending!r}, which is not read as a volume ({', '.join(FILES)} are): convert "
            "images and masks to .nii.gz, with their spacing"
        )
    return ending


def _masks(training: Any) -> dict[Path, Path]:
    """Read which mask belongs to which image, of the Decathlon's and version 1's list."""
    pairs = [pair for pair in (training if isinstance(training, list) else []) if isinstance(pair, dict)]
    return {Path(str(pair["image"])): Path(str(pair["label"])) for pair in pairs if pair.keys() >= {"image", "label"}}


def _listed(dataset: Any, file: Path) -> dict[str, tuple[list[Path], Path]]:
    """Read version 2's list of cases whose files lie anywhere: {case: {images: [...], label: ...}}."""
    if not dataset:
        return {}
    try:
        return {
            str(case): ([Path(str(image)) for image in own["images"]], Path(str(own["label"])))
            for case, own in dataset.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise DataError(f"{file}: dataset is not {{case: {{images: [...], label: ...}}}}") from None

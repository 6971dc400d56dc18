"""nnU-Net's raw folder, and the Decathlon's: imagesTr, labelsTr, imagesTs, dataset.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem

CHANNEL = re.compile(r"(.+)_(\d{4})")
IGNORE, BACKGROUND = "ignore", "background"
USUAL_ENDING = ".nii.gz"
CT = "ct"


@dataclass
class RawFolder:
    """What such a folder holds.

    Args:
        channels: names of the channels, in order.
        labels: {number: name}, without background and ignored voxels.
        regions: {name: numbers}; empty where labels are no regions.
        ignore: the number of voxels that nobody has labelled; None for none.
        cases: {name: (images by channel, mask, split)}, of imagesTr train, of imagesTs with labels test.
        faults: of cases that lack a file, by name.
        warnings: what was passed over.
    """

    channels: list[str]
    labels: dict[int, str]
    regions: dict[str, list[int]]
    ignore: int | None
    cases: dict[str, tuple[list[Path], Path, str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def modality(self) -> str:
        """Say ct where all channels are called so, else other."""
        return CT if self.channels and all(name.lower() == CT for name in self.channels) else "other"


def read_raw_folder(root: Path) -> RawFolder:
    """List the cases of a folder.

    Raises:
        DataError: no dataset.json, one that can't be read or says what can't be, or no images.
    """
    file = root / "dataset.json"
    described = _described(file)
    folder = _folder_of(described, file)
    ending = str(described.get("file_ending") or USUAL_ENDING)
    for images, labels, split in (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test")):
        _list(folder, root, (images, labels, split), ending)
    train = sum(split == "train" for _, _, split in folder.cases.values())
    if not train:
        raise DataError(f"{root / 'imagesTr'}: no images that end in {ending} (file_ending of dataset.json)")
    announced = described.get("numTraining")
    if isinstance(announced, int) and announced != train:
        detail = f"numTraining is {announced:,}, but imagesTr holds {train:,} cases"
        folder.warnings.append(Problem("other_number", file.name, detail, "warning"))
    return folder


def _described(file: Path) -> Mapping[str, Any]:
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{file}: not there; give nnU-Net's raw folder, nnUNet_raw/DatasetNNN_NAME, as data.root"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(described, dict) or not isinstance(described.get("labels"), dict):
        raise DataError(f"{file} has no labels, {{name: number}}")
    return described


def _folder_of(described: Mapping[str, Any], file: Path) -> RawFolder:
    """Read channels and labels: {name: number or numbers} of version 2, {number: name} of version 1."""
    channels = described.get("channel_names") or described.get("modality") or {}
    names = [str(name) for _, name in sorted(dict(channels).items(), key=lambda item: int(item[0]))]
    numbers: dict[str, list[int]] = {}
    for name, value in described["labels"].items():
        if str(name).isdigit() and isinstance(value, str):
            name, value = value, int(name)
        try:
            numbers[str(name)] = [int(number) for number in (value if isinstance(value, list) else [value])]
        except (TypeError, ValueError):
            raise DataError(f"{file}: label {name!r} is {value!r}, neither a number nor a list of them") from None
    ignored = numbers.pop(IGNORE, [None])[0]
    if ignored == 0:
        raise DataError(f"{file}: the label 'ignore' is 0, which is background")
    marked = {name: own for name, own in numbers.items() if own != [0]}
    if not marked:
        raise DataError(f"{file} names no label but background")
    several = any(len(own) > 1 for own in marked.values())
    by_number = {own[0]: name for name, own in marked.items() if len(own) == 1}
    labels = {number: by_number.get(number, str(number)) for own in marked.values() for number in own if number}
    return RawFolder(names or [""], dict(sorted(labels.items())), marked if several else {}, ignored)


def _list(folder: RawFolder, root: Path, names: tuple[str, str, str], ending: str) -> None:
    """Add the cases of a folder of images whose masks lie in another."""
    images, masks, split = names
    if not (root / images).is_dir():
        return
    files = sorted(path for path in (root / images).iterdir() if not path.name.startswith("."))
    own = [path for path in files if path.name.endswith(ending)]
    if len(own) < len(files):
        detail = (
            f"passed over {len(files) - len(own):,} files that do not end in {ending} (file_ending of dataset.json)"
        )
        folder.warnings.append(Problem("passed_over", images, detail, "warning"))
    if own and split == "test" and not (root / masks).is_dir():
        detail = f"{len(own):,} images have no masks ({masks}): not used; predict takes them (input={root / images})"
        folder.warnings.append(Problem("passed_over", images, detail, "warning"))
        return
    by_case = _by_case(own, ending)
    for case, channels in by_case.items():
        lacking = [n for n in range(len(folder.channels)) if n not in channels]
        beyond = [n for n in channels if n >= len(folder.channels)]
        if lacking or beyond:
            what = f"lacks channel {lacking[0]:04d}" if lacking else f"has a channel {beyond[0]:04d}"
            folder.faults[case] = f"{what}, of the {len(folder.channels)} that dataset.json names"
        first = next(iter(channels.values()))
        paths = [channels.get(n, first) for n in range(len(folder.channels))]
        folder.cases[case] = paths, root / masks / f"{case}{ending}", split
    without = sorted(
        path.name
        for path in ((root / masks).iterdir() if (root / masks).is_dir() else ())
        if path.name.endswith(ending) and not path.name.startswith(".") and path.name[: -len(ending)] not in by_case
    )
    if without:
        detail = f"{len(without):,} masks have no image, the first {without[0]}"
        folder.warnings.append(Problem("no_image", masks, detail, "warning"))


def _by_case(files: list[Path], ending: str) -> dict[str, dict[int, Path]]:
    """Group the files of each case by channel: CASE_0000, or CASE alone where no file is called so."""
    stems = {path: path.name[: -len(ending)] for path in files}
    numbered = {path: CHANNEL.fullmatch(stem) for path, stem in stems.items()}
    cases: dict[str, dict[int, Path]] = {}
    for path, stem in stems.items():
        match = numbered[path] if all(numbered.values()) else None
        case, channel = (match[1], int(match[2])) if match else (stem, 0)
        cases.setdefault(case, {})[channel] = path
    return cases

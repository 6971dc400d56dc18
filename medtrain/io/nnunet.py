"""nnU-Net's raw folder, and the Decathlon's: imagesTr, labelsTr, imagesTs, as dataset.json describes them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medtrain.core.errors import DataError, Problem
from medtrain.io.nnunet_json import CT, FILE, Described, read_described

CHANNEL = re.compile(r"(.+)_(\d{4})")
FOLDS = "splits_final.json"
TRAIN, TEST = ("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test")
SPECIAL = ("nonorm", "rescale_to_0_1", "rescale_0_1", "rgb_to_0_1")  # names by which nnU-Net scales a channel otherwise
Files = dict[int | None, Path]
"""Of a case its file for each channel; None for one whose name says no channel."""


@dataclass
class RawFolder:
    """What such a folder holds.

    Args:
        described: its dataset.json.
        whole: does one file hold all channels of a case, as in the Decathlon?
        cases: {name: (images by channel, mask, split)}, of imagesTr train, of imagesTs with labels test.
        folds: {name: fold} of splits_final.json; empty without one.
        faults: of cases that lack a file, by name.
        warnings: what was passed over.
    """

    described: Described
    whole: bool = False
    cases: dict[str, tuple[list[Path], Path, str]] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Count the files of a case."""
        return 1 if self.whole else max(1, len(self.described.channels))

    @property
    def modality(self) -> str:
        """Say ct where all channels are called so, else other."""
        channels = self.described.channels
        return CT if channels and all(name.lower() == CT for name in channels) else "other"

    def scaled_otherwise(self) -> list[Problem]:
        """Warn of channels whose names let nnU-Net scale them otherwise than they are scaled here."""
        odd = [name for name in self.described.channels if name.lower() in (CT, *SPECIAL)]
        if not odd or self.modality == CT:
            return []
        detail = (
            f"nnU-Net scales {', '.join(odd)} in ways of their own; here each channel is standardised by its own mean "
            "and deviation, case by case (data.modality=ct: all by the set's)"
        )
        return [Problem("scaled_otherwise", FILE, detail, "warning")]


def read_raw_folder(root: Path) -> RawFolder:
    """List the cases of a folder.

    Raises:
        DataError: no dataset.json, one that can't be read or says what can't be, or no images.
    """
    folder = RawFolder(read_described(root))
    described = folder.described
    for case, (images, mask) in described.listed.items():
        folder.cases[case] = [root / image for image in images], root / mask, "train"
        if len(images) != folder.files:
            folder.faults[case] = f"has {len(images)} images, of the {folder.files} channels that dataset.json names"
    for names in (TEST,) if described.listed else (TRAIN, TEST):
        _list(folder, root, names)
    train = [case for case, (_, _, split) in folder.cases.items() if split == "train"]
    if not train:
        raise DataError(f"{root / 'imagesTr'}: no images that end in {described.ending} (file_ending of dataset.json)")
    _tell(folder, len(train))
    if (root / FOLDS).is_file():
        _take_folds(folder, root / FOLDS, train)
    return folder


def _tell(folder: RawFolder, train: int) -> None:
    """Warn of what dataset.json says otherwise than it is, or is written here."""
    described = folder.described
    if described.announced not in (None, train):
        detail = f"numTraining is {described.announced:,}, but imagesTr holds {train:,} cases"
        folder.warnings.append(Problem("other_number", FILE, detail, "warning"))
    if described.order and described.order != list(range(1, len(described.regions) + 1)):
        detail = f"regions_class_order={described.order} is of nnU-Net's label maps: here regions are numbered from 1"
        folder.warnings.append(Problem("other_order", FILE, detail, "warning"))


def _list(folder: RawFolder, root: Path, names: tuple[str, str, str]) -> None:
    """Add the cases of a folder of images whose masks lie in another."""
    (images, masks, split), ending = names, folder.described.ending
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
    listed = {root / image: root / mask for image, mask in folder.described.masks.items()}
    mask_of = {path.name[: -len(ending)]: listed[path] for path in own if path in listed}
    there = _stems(root / masks, ending)
    by_case = _by_case(own, ending, {*there, *mask_of})
    if split == "train":
        channels = {channel for of_case in by_case.values() for channel in of_case}
        folder.whole = len(folder.described.channels) > 1 and channels == {None}
    for case, of_case in by_case.items():
        paths, fault = _in_order(of_case, folder)
        if fault:
            folder.faults[case] = fault
        folder.cases[case] = paths, mask_of.get(case, root / masks / f"{case}{ending}"), split
    used = {folder.cases[case][1].name for case in by_case}
    if without := sorted(f"{stem}{ending}" for stem in there if f"{stem}{ending}" not in used):
        detail = f"{len(without):,} masks have no image, the first {without[0]}"
        folder.warnings.append(Problem("no_image", masks, detail, "warning"))


def _stems(folder: Path, ending: str) -> list[str]:
    """List the names of files in a folder, if it is there, without their ending."""
    files = folder.iterdir() if folder.is_dir() else ()
    return [path.name[: -len(ending)] for path in files if path.name.endswith(ending) and path.name[0] != "."]


def _by_case(files: Collection[Path], ending: str, alone: Collection[str]) -> dict[str, Files]:
    """Group the files of each case: CASE_0000 is channel 0 of CASE.

    Args:
        alone: names of masks; an image that is called like one is a case by itself, be it IMAGE_0001.
    """
    cases: dict[str, Files] = {}
    for path in files:
        stem = path.name[: -len(ending)]
        match = None if stem in alone else CHANNEL.fullmatch(stem)
        case, channel = (match[1], int(match[2])) if match else (stem, None)
        cases.setdefault(case, {})[channel] = path
    return cases


def _in_order(own: Mapping[int | None, Path], folder: RawFolder) -> tuple[list[Path], str]:
    """Order the files of a case, and tell what is wrong with them, or ''."""
    number, first = folder.files, next(iter(own.values()))
    if len(own) > 1 and None in own:
        return [first] * number, f"is there twice, as {' and '.join(sorted(path.name for path in own.values()))}"
    by_channel = {channel or 0: path for channel, path in own.items()}
    lacking = [n for n in range(number) if n not in by_channel]
    beyond = [n for n in by_channel if n >= number]
    fault = ""
    if lacking or beyond:
        what = f"lacks channel {lacking[0]:04d}" if lacking else f"has a channel {beyond[0]:04d}"
        fault = f"{what}, of the {max(1, len(folder.described.channels))} that dataset.json names"
    return [by_channel.get(n, first) for n in range(number)], fault


def _take_folds(folder: RawFolder, file: Path, train: Collection[str]) -> None:
    """Read nnU-Net's own folds, if each training case validates in one of them; else say why they are of no use."""
    try:
        val = [[str(case) for case in fold["val"]] for fold in json.loads(file.read_text(encoding="utf-8-sig"))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        val, why = [], f"cannot be read ({error})"
    else:
        listed = Counter(case for fold in val for case in fold)
        none, several = sum(not listed[case] for case in train), sum(listed[case] > 1 for case in train)
        why = f"{none:,} cases validate in none of its folds, {several:,} in several" if none or several else ""
        unknown = len(set(listed) - set(train))
        why = f"{unknown:,} cases that it names are not there" if not why and unknown else why
    if why:
        detail = f"not used: {why}; data.folds makes others"
        folder.warnings.append(Problem("no_folds", file.name, detail, "warning"))
        return
    folder.folds = {case: number for number, fold in enumerate(val) for case in fold}

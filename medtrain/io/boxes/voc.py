"""Pascal VOC's layout: an XML an image in Annotations, pictures in JPEGImages, lists of splits in ImageSets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from medtrain.core.errors import DataError
from medtrain.io.boxes.annotations import Annotations
from medtrain.io.image import SUFFIXES

CORNERS = ("xmin", "ymin", "xmax", "ymax")
PICTURES = ("JPEGImages", "images", "Images", "")


def read_voc(root: Path) -> Annotations:
    """Read all XML files of Annotations, or those of ImageSets/Main's train, val and test lists, where there are any.

    Args:
        root: the folder with Annotations, or one above it.

    Raises:
        DataError: no Annotations, or several.
    """
    root = _find(root)
    annotations = Annotations(root, "xyxy")
    pictures = _pictures(root)
    for stem, split in _listed(root):
        _read(annotations, root / "Annotations" / f"{stem}.xml", pictures, split)
    annotations.classes = sorted(set(annotations.label))
    return annotations


def _find(root: Path) -> Path:
    places = [
        place
        for place in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*")))
        if (place / "Annotations").is_dir()
    ]
    if not places:
        raise DataError(f"data.root={root} holds no folder Annotations with XML files, nor do the folders in it")
    if len(places) > 1 and places[0] != root:
        names = ", ".join(str(place) for place in places[:5])
        raise DataError(f"data.root={root} holds several folders Annotations: set data.root to one of {names}")
    return places[0]


def _pictures(root: Path) -> dict[str, Path]:
    """{name, and name without suffix: file} of the pictures."""
    folder = next(place for place in (root / name for name in PICTURES) if place.is_dir())
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return {file.stem: file for file in files} | {file.name: file for file in files}


def _listed(root: Path) -> Sequence[tuple[str, str]]:
    """(stem, split) of each annotation."""
    lists = {name: root / "ImageSets" / "Main" / f"{name}.txt" for name in ("train", "val", "test")}
    rows = [
        (line.split()[0], split)
        for split, file in lists.items()
        if file.is_file()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.split()
    ]
    return rows or [(file.stem, "") for file in sorted((root / "Annotations").glob("*.xml"))]


def _read(annotations: Annotations, file: Path, pictures: dict[str, Path], split: str) -> None:
    try:
        root = ElementTree.parse(file).getroot()
        fault = ""
    except FileNotFoundError:
        root, fault = ElementTree.Element("annotation"), "the split lists name it, but there is no such file"
    except (ElementTree.ParseError, OSError, ValueError) as error:
        root, fault = ElementTree.Element("annotation"), f"no XML that can be read: {error}"
    named = (root.findtext("filename") or "").strip()
    # what the file itself is called counts first: names within are often those of another machine
    path = pictures.get(file.stem) or pictures.get(named) or file.parent.parent / PICTURES[0] / (named or file.stem)
    height, width = (_whole(root.findtext(f"size/{side}")) for side in ("height", "width"))
    size = (height, width) if height and width else None
    image = annotations.add_image(path, path.name, file.name, size=size, split=split)
    if fault:
        annotations.blame(image, "unreadable", file.name, fault)
    for number, item in enumerate(root.iter("object"), start=1):
        where, label = f"{file.name} object {number}", (item.findtext("name") or "").strip()
        written = [item.findtext(f"bndbox/{corner}") for corner in CORNERS]
        try:
            box = [float(text or "") for text in written]
        except ValueError:
            annotations.blame(
                image, "bad_box", where, f"its bndbox is {written}, not four numbers {', '.join(CORNERS)}"
            )
            continue
        if not label:
            annotations.blame(image, "bad_label", where, "it has no name")
            continue
        annotations.add_box(image, label, box, where, crowd=(item.findtext("difficult") or "").strip() == "1")


def _whole(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except ValueError:
        return 0

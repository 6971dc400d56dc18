"""Pascal VOC's layout: an XML an image in Annotations, pictures in JPEGImages, lists of splits in ImageSets."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from medtrain.core.errors import DataError, Problem
from medtrain.io.boxes.annotations import Annotations, BoxRow, ImageRow, split_of
from medtrain.io.picture_files import files_below, pictures_below

XML = "Annotations"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
PICTURES = ("JPEGImages", "images", "Images", "")


def read_voc(root: Path) -> Annotations:
    """Read the XML files of each folder Annotations at or below `root`, or else those beside pictures.

    Where ImageSets/Main has lists train, val, test or trainval, these count, and folders of these names elsewhere; what
    they leave out is told, and so are pictures without an XML.

    Args:
        root: the folder with Annotations, or one above it, or the one with pictures and XML files.

    Raises:
        DataError: no XML.
    """
    read = Annotations(root, "xyxy")
    bases = _bases(root)
    for base in bases:
        _Folder(read, base, root if len(bases) > 1 else base).run()
    read.classes = sorted(set(read.label))
    return read


def _bases(root: Path) -> list[Path]:
    """List the folders that hold a folder Annotations, or `root` where XML files lie elsewhere below it."""
    places = [place for place in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))) if (place / XML).is_dir()]
    if places[:1] == [root]:
        return [root]
    if not places and not any(file.suffix.lower() == ".xml" for file in files_below(root)):
        raise DataError(
            f"data.root={root} holds no folder {XML} with XML files, nor do the folders in it, nor are there any "
            "beside pictures"
        )
    return places or [root]


class _Folder:
    """One folder with Annotations and pictures, or with both side by side.

    Args:
        read: takes what it says.
        base: the folder.
        root: below which cases are named.
    """

    def __init__(self, read: Annotations, base: Path, root: Path) -> None:
        self.read, self.base, self.root = read, base, root
        self.xml = base / XML if (base / XML).is_dir() else base
        self.folder = next(place for place in (base / name for name in PICTURES) if place.is_dir())
        self.pictures: dict[str, list[Path]] = {}  # by name, with and without suffix
        for file in pictures_below(self.folder):
            for name in {file.stem, file.name}:
                self.pictures.setdefault(name, []).append(file)
        self.used: set[Path] = set()

    def run(self) -> None:
        """Read all XML files that count, and tell what does not."""
        files = sorted(file for file in files_below(self.xml) if file.suffix.lower() == ".xml")
        listed = self._listed()
        if listed:
            named = {file.relative_to(self.xml).with_suffix("").as_posix() for file in files}
            self._tell(len(named - {stem for stem, _ in listed}), "no_split", "XML files are in none of the lists")
        rows = [(self.xml / f"{stem}.xml", split) for stem, split in listed] or [(f, self._split(f)) for f in files]
        for file, split in rows:
            self._file(file, split)
        unused = {file for files in self.pictures.values() for file in files} - self.used
        if not listed:
            self._tell(len(unused), "no_labels", "pictures have no XML")

    def _tell(self, number: int, kind: str, what: str) -> None:
        if number:
            self.read.warnings.append(Problem(kind, str(self.base), f"{number:,} {what}: left out", "warning"))

    def _listed(self) -> list[tuple[str, str]]:
        """List (stem, split) of ImageSets/Main; trainval counts as train where there are no such lists."""
        rows: dict[str, str] = {}
        for name in ("train", "val", "test", "trainval"):
            file = self.base / "ImageSets" / "Main" / f"{name}.txt"
            if name == "trainval" and {"train", "val"} & set(rows.values()):
                continue
            lines = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
            for line in lines:
                if line.split():
                    stem, split = line.split()[0], name.removesuffix("val") if name == "trainval" else name
                    if rows.setdefault(stem, split) != split:
                        detail = f"{stem} is in the list {rows[stem]}, too: one of the two must go"
                        self.read.blame(None, "bad_split", f"{name}.txt", detail)
        return list(rows.items())

    def _split(self, file: Path) -> str:
        """Name the split that a folder on the way to a file is called by."""
        parts = file.relative_to(self.xml).parts[:-1]
        return next((split for part in parts if (split := split_of(part))), "")

    def _picture(self, file: Path, named: str) -> Path:
        """Find the picture of an XML file: what the file itself is called counts first, since names within are often
        those of another machine; of several the one in the same sub-folder."""
        named = named.replace("\\", "/").rsplit("/", 1)[-1]
        near = file.relative_to(self.xml).parent
        for name in (file.stem, named):
            places = self.pictures.get(name, [])
            same = [place for place in places if place.parent in (file.parent, self.folder / near)]
            for fitting in (places, same):
                if len(fitting) == 1:
                    return fitting[0]
        return self.folder / near / (named or file.stem)

    def _file(self, file: Path, split: str) -> None:
        try:
            root = ElementTree.parse(file).getroot()
            fault = "" if root.tag == "annotation" else f"it holds <{root.tag}>, where VOC has <annotation>"
        except FileNotFoundError:
            root, fault = ElementTree.Element("annotation"), "the split lists name it, but there is no such file"
        except (ElementTree.ParseError, OSError, ValueError) as error:
            root, fault = ElementTree.Element("annotation"), f"no XML that can be read: {error}"
        path = self._picture(file, (root.findtext("filename") or "").strip())
        self.used.add(path)
        height, width = (_whole(root.findtext(f"size/{side}")) for side in ("height", "width"))
        inside = path.parent == self.folder and self.root == self.base
        name = path.name if inside or not path.is_relative_to(self.root) else path.relative_to(self.root).as_posix()
        size = (height, width) if height and width else None
        image = self.read.add_image(ImageRow(path, name, file.name, size=size, split=split))
        if fault:
            self.read.blame(image, "unreadable", file.name, fault)
        for number, item in enumerate(root.iter("object"), start=1):
            self._object(image, item, f"{file.name} object {number}")

    def _object(self, image: int, item: ElementTree.Element, where: str) -> None:
        label = (item.findtext("name") or "").strip()
        written = [item.findtext(f"bndbox/{corner}") for corner in CORNERS]
        try:
            box = [float(text or "") for text in written]
        except ValueError:
            detail = f"its bndbox is {written}, not four numbers {', '.join(CORNERS)}"
            self.read.blame(image, "bad_box", where, detail)
            return
        if not label:
            self.read.blame(image, "bad_label", where, "it has no name")
            return
        difficult = (item.findtext("difficult") or "").strip() == "1"
        self.read.add_box(BoxRow(image, label, box, where, difficult=difficult))


def _whole(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except ValueError:
        return 0

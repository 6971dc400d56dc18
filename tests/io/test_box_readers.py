"""COCO, YOLO and VOC as people and tools write them, and all that is wrong in them named at once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import DataError
from medtrain.io.boxes import Annotations, read_coco, read_roots, read_voc, read_yolo
from medtrain.io.boxes.annotations import split_of


def picture(path: Path, size: tuple[int, int] = (40, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, 100, np.uint8)).save(path)


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 60, "height": 40, "patient": "p1"},
            {"id": 9, "file_name": "b.png", "width": 60, "height": 40},
        ],
        "annotations": [
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [5, 6, 10, 20.5], "area": 150, "iscrowd": 0},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
        "categories": [{"id": 2, "name": "mass"}, {"id": 1, "name": "nodule"}],
    } | changes


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def kinds(found: Annotations) -> dict[str, int]:
    return dict(Counter(problem.kind for _, problem in found.bad))


# --- COCO ----------------------------------------------------------------------------------------------------------


def test_coco_is_read_to_the_letter(tmp_path: Path) -> None:
    write(tmp_path / "annotations.json", coco())
    picture(tmp_path / "images" / "a.png")
    found = read_coco(tmp_path)
    assert found.classes == ["mass", "nodule"] and found.name == ["a.png", "b.png"]
    assert found.path[0] == str(tmp_path / "images" / "a.png")
    assert found.box == [(5, 6, 15, 26.5), (0, 0, 60, 40)] and found.label == ["mass", "nodule"]
    assert found.image == [0, 0] and found.crowd == [False, True] and found.area == [150, None]
    assert found.image_id == [7, 9] and found.box_id == [3, 4] and found.size == [(40, 60)] * 2
    assert found.patient == ["p1", ""] and found.split == ["", ""] and not found.bad


def test_files_of_splits_as_roboflow_and_coco_lay_them_out(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        write(tmp_path / "r" / folder / "_annotations.coco.json", coco())
        picture(tmp_path / "r" / folder / "a.png")
    found = read_coco(tmp_path / "r")
    assert Counter(found.split) == {"test": 2, "train": 2, "val": 2}
    assert all(
        Path(path).is_file() for path, name in zip(found.path, found.name, strict=True) if name.endswith("a.png")
    )
    assert found.name[:2] == ["test/a.png", "test/b.png"]
    assert found.image_id == [7, 9] * 3 and found.box_id == [3, 4] * 3  # ids are each file's own
    for name in ("instances_train2017", "instances_val2017", "captions_val2017"):
        write(tmp_path / "c" / "annotations" / f"{name}.json", coco())
    picture(tmp_path / "c" / "train2017" / "a.png")
    found = read_coco(tmp_path / "c")
    assert Counter(found.split) == {"train": 2, "val": 2}
    assert found.path[0] == str(tmp_path / "c" / "train2017" / "a.png")


@pytest.mark.parametrize(
    ("name", "split"),
    [("instances_val2017", "val"), ("valid", "val"), ("TRAINING-set", "train"), ("retrained", ""), ("train_val", "")],
)
def test_a_split_is_a_word_of_a_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_all_that_is_wrong_in_coco_is_named(tmp_path: Path) -> None:
    content = coco()
    content["images"] += [{"id": 9, "file_name": "c.png"}, {"file_name": "d.png"}]
    content["annotations"] += [
        {"id": 4, "image_id": 7, "category_id": 5, "bbox": [1, 1, 2, 2]},
        {"id": 5, "image_id": 100, "category_id": 1, "bbox": [1, 1, 2, 2]},
        {"id": 6, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2]},
        "nothing",
    ]
    content["categories"].append({"id": 2, "name": "other"})
    found = read_coco(tmp_path, [write(tmp_path / "a.json", content)])
    assert kinds(found) == {"duplicate_id": 3, "bad_image": 1, "bad_label": 1, "no_image": 1, "bad_box": 2}
    text = "\n".join(str(problem) for _, problem in found.bad)
    assert "category_id 5 is none of 2 (mass), 1 (nodule)" in text and "a.json annotations[2] of a.png" in text
    assert "image_id 100 is none of the images" in text and "the id 9 stands for b.png and for c.png" in text
    assert len(found.box) == 3 and [p.kind for p in found.warnings] == ["duplicate_id"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "a.json is no JSON: line 1, column 13"),
        ("[]", "is not COCO's: it has no list images or annotations or categories"),
        ('{"images": [], "annotations": {}}', "no list annotations or categories"),
    ],
)
def test_what_is_not_coco_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(tmp_path, [write(tmp_path / "a.json", content)])


def test_no_annotations_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no annotations"):
        read_coco(tmp_path)
    write(tmp_path / "settings.json", {})
    write(tmp_path / "boxes.json", coco())
    assert len(read_coco(tmp_path)) == 2  # other JSON beside it is no matter


def test_tbx11k(test_data: Path) -> None:
    found = read_coco(test_data / "xray" / "tbx11k")
    assert len(found) == 3 and len(found.box) == 3 and all(Path(path).is_file() for path in found.path)
    assert found.image == [0, 1, 1] and found.label[0] == "ActiveTuberculosis"


# --- YOLO ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path: Path) -> Callable[..., Path]:
    """Roboflow's layout: one image a split, the first with a box and a polygon, the last without labels."""

    def build(
        yaml: str = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [a, b]\n",
    ) -> Path:
        for split in ("train", "valid", "test"):
            picture(tmp_path / split / "images" / f"{split}.png")
        write(tmp_path / "train/labels/train.txt", "1 0.5 0.25 0.2 0.1\n0 0.1 0.2 0.3 0.2 0.2 0.6\n\n")
        write(tmp_path / "valid/labels/valid.txt", "")
        write(tmp_path / "data.yaml", yaml)
        return tmp_path

    return build


def test_yolo_as_roboflow_writes_it(yolo: Callable[..., Path]) -> None:
    found = read_yolo(yolo())
    assert found.name == ["train/images/train.png", "valid/images/valid.png", "test/images/test.png"]
    assert found.split == ["train", "val", "test"] and found.unit == "share" and found.classes == ["a", "b"]
    assert found.label == ["b", "a"] and not found.bad
    np.testing.assert_allclose(found.box, [(0.4, 0.2, 0.6, 0.3), (0.1, 0.2, 0.3, 0.6)])


def test_yolo_does_not_stray_into_the_data_set_beside_it(yolo: Callable[..., Path]) -> None:
    root = yolo()
    inner = root / "inner"
    for split in ("train", "valid", "test"):
        picture(inner / split / "images" / "own.png")
    (root / "data.yaml").rename(inner / "data.yaml")
    write(inner / "train" / "labels" / "classes.txt", "a\nb\n")
    found = read_yolo(inner)
    assert {Path(path).name for path in found.path} == {"own.png"} and not found.bad


def test_yolo_names_as_a_dict_a_path_and_a_list_of_images(yolo: Callable[..., Path]) -> None:
    root = yolo("path: .\ntrain: train.txt\nval: [valid/images]\nnames: {0: a, 1: b}\n")
    write(root / "train.txt", "./train/images/train.png\n")
    found = read_yolo(root)
    assert found.split == ["train", "val"] and found.classes == ["a", "b"] and len(found.box) == 2


def test_folders_of_splits_that_data_yaml_does_not_name_are_told(yolo: Callable[..., Path]) -> None:
    root = yolo("train: train/images\nval: valid/images\nnames: [a, b]\n")
    picture(root / "images/test/other.png")
    found = read_yolo(root)
    told = [(Path(problem.where).relative_to(root).as_posix(), problem.detail) for problem in found.warnings
            if problem.kind == "no_split"]  # fmt: skip
    assert told == [
        ("test/images", "1 images that data.yaml does not name: left out; 'test: test/images' in it reads them"),
        ("images/test", "1 images that data.yaml does not name: left out; 'test: images/test' in it reads them"),
    ]
    named = read_yolo(yolo("train: train\nval: valid\ntest: [test, images/test]\nnames: [a, b]\n"))
    assert len(named) == 4 and all(problem.kind != "no_split" for problem in named.warnings)


def test_several_roots_are_one_set(yolo: Callable[..., Path], tmp_path: Path) -> None:
    root = yolo()
    (inner := tmp_path / "inner").mkdir()
    for name in ("train", "valid", "test", "data.yaml"):
        (root / name).rename(inner / name)
    shutil.copytree(inner, tmp_path / "other")
    write(tmp_path / "other/data.yaml", "train: train/images\nnames: [b, c]\n")
    write(tmp_path / "other/train/labels/train.txt", "1 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.1 0.1\n")
    found = read_roots([inner, tmp_path / "other"], read_yolo)
    assert found.classes == ["a", "b", "c"] and found.label == ["b", "a", "c"] and found.image == [0, 0, 3]
    assert found.name[0] == "inner/train/images/train.png" and found.name[3] == "other/train/images/train.png"
    assert all(Path(path).is_file() for path in found.path) and found.split == ["train", "val", "test", "train"]
    ((image, problem),) = found.bad
    assert image == 3 and problem.where == "other/labels/train.txt line 2" and "class 7" in problem.detail
    assert read_roots([inner], read_yolo).name[0] == "train/images/train.png"


def test_all_that_is_wrong_in_yolo_is_named(yolo: Callable[..., Path]) -> None:
    root = yolo()
    write(root / "train/labels/train.txt", "2 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n0 x 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n")
    write(root / "train/labels/lost.txt", "0 0.5 0.5 0.1 0.1\n")
    found = read_yolo(root)
    assert kinds(found) == {"bad_label": 1, "bad_box": 2, "no_image": 1} and len(found.box) == 1
    text = "\n".join(str(problem) for _, problem in found.bad)
    assert "labels/train.txt line 1: class 2 is none of 0 to 1 (a, b)" in text
    assert "labels/train.txt line 2: 3 numbers after the class" in text
    assert "labels/lost.txt: no image lost" in text


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: [", "is no YAML"),
        ("train: train/images", "has no names"),
        ("names: {0: a, 2: b}", "have the numbers"),
        ("names: [a]\ntrain: elsewhere/images", "names elsewhere/images, which is not there"),
        ("names: [a]", "names no images"),
    ],
)
def test_what_is_not_yolo_is_refused(yolo: Callable[..., Path], yaml: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_yolo(yolo(yaml))


# --- VOC -----------------------------------------------------------------------------------------------------------

BOX = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
OBJECT = f"<object><name>{{}}</name><difficult>{{}}</difficult>{BOX}</object>"
SIZE = "<filename>other.jpg</filename><size><width>60</width><height>40</height></size>"


def voc(root: Path) -> Path:
    for name, objects in (("a", OBJECT.format("x", 0, 3)), ("b", ""), ("c", OBJECT.format("y", 1, 4))):
        write(root / "V" / "Annotations" / f"{name}.xml", f"<annotation>{SIZE}{objects}</annotation>")
        picture(root / "V" / "JPEGImages" / f"{name}.png")
    return root


def test_voc_with_and_without_lists(tmp_path: Path) -> None:
    root = voc(tmp_path)
    found = read_voc(root)
    assert found.name == ["a.png", "b.png", "c.png"] and found.split == [""] * 3 and found.classes == ["x", "y"]
    assert found.box == [(3, 2, 9, 8), (4, 2, 9, 8)] and found.crowd == [False, True] and found.size[1] == (40, 60)
    assert found.difficult == [False, True]
    lists = root / "V" / "ImageSets" / "Main"
    for name, lines in (("train", "a\n"), ("val", "b 1\n"), ("test", "c\ngone\n"), ("x_train", "b -1\n")):
        write(lists / f"{name}.txt", lines)
    found = read_voc(root)
    assert found.name[:3] == ["a.png", "b.png", "c.png"] and found.split == ["train", "val", "test", "test"]
    assert kinds(found) == {"unreadable": 1} and found.bad[0][0] == 3


def test_all_that_is_wrong_in_voc_is_named(tmp_path: Path) -> None:
    root = voc(tmp_path)
    write(root / "V/Annotations/b.xml", "<annotation><object>")
    write(
        root / "V/Annotations/c.xml",
        f"<annotation>{OBJECT.format('', 0, 1)}{OBJECT.format('y', 0, 'one')}</annotation>",
    )
    found = read_voc(root)
    assert kinds(found) == {"unreadable": 1, "bad_label": 1, "bad_box": 1}
    assert "c.xml object 2: its bndbox is ['one', '2', '9', '8'], not four numbers" in str(found.bad[2][1])
    with pytest.raises(DataError, match="holds no folder Annotations"):
        read_voc(tmp_path / "V" / "JPEGImages")


def test_voc_trainval_several_roots_and_sub_folders(tmp_path: Path) -> None:
    for root in ("VOC2007", "VOC2012"):
        voc(tmp_path / root)
    found = read_voc(tmp_path)
    assert len(found) == 6 and len(set(found.name)) == 6 and all(Path(path).is_file() for path in found.path)
    lists = tmp_path / "VOC2007/V/ImageSets/Main"
    write(lists / "trainval.txt", "a\n")
    write(lists / "test.txt", "\ufeffb\n")
    found = read_voc(tmp_path / "VOC2007")
    assert found.split == ["test", "train"] and found.name == ["b.png", "a.png"]
    assert [p.detail for p in found.warnings] == ["1 XML files are in none of the lists: left out"]
    write(lists / "train.txt", "b\n")
    assert kinds(read_voc(tmp_path / "VOC2007")) == {"bad_split": 1}


def test_voc_beside_pictures_and_in_folders_of_splits(tmp_path: Path) -> None:
    for place in ("train/x/a", "train/y/a", "valid/b", "test/c"):
        objects = OBJECT.format("x", 0, 3)
        write(tmp_path / f"{place}.xml", f"<annotation><filename>C:\\f\\o.jpg</filename>{objects}</annotation>")
        picture(tmp_path / f"{place}.png")
    picture(tmp_path / "test/more.png")
    found = read_voc(tmp_path)
    assert dict(zip(found.name, found.split, strict=True)) == {
        "train/x/a.png": "train", "train/y/a.png": "train", "valid/b.png": "val", "test/c.png": "test",
    }  # fmt: skip
    assert len(found.box) == 4 and [p.detail for p in found.warnings] == ["1 pictures have no XML: left out"]
    write(tmp_path / "train/x/other.xml", "<project/>")
    assert kinds(read_voc(tmp_path)) == {"unreadable": 1}


def test_bccd(test_data: Path) -> None:
    found = read_voc(test_data / "bccd")
    assert Counter(found.split) == {"train": 205, "val": 87, "test": 72}
    assert Counter(found.label) == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    assert not found.bad and all(Path(path).is_file() for path in found.path)

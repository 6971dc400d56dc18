"""Where YOLO's labels lie and what their lines are: no lesion becomes a negative without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.io.boxes import Annotations, read_yolo

BOX = "0 0.5 0.5 0.2 0.1\n"
POSE2 = "0 0.5 0.5 0.4 0.2 0.45 0.55 0.6 0.42\n"
POSE3 = "0 0.5 0.5 0.4 0.2 0.45 0.55 2 0.6 0.42 1\n"
POSE3_OF_2 = "0 0.5 0.5 0.4 0.2 0.45 0.55 2 0 0 0\n"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60), 100, np.uint8)).save(path)


def text(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)


def read(root: Path, yaml: str = "train: images/train\nnames: [a, b]\n", encoding: str = "utf-8") -> Annotations:
    text(root / "data.yaml", yaml, encoding)
    return read_yolo(root)


def bad(read: Annotations) -> list[str]:
    return [problem.kind for _, problem in read.bad]


def warned(read: Annotations) -> dict[str, str]:
    return {problem.kind: problem.detail for problem in read.warnings}


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "single images"])
@pytest.mark.parametrize("labels", ["here", "there"])
def test_labels_of_linked_images(tmp_path: Path, whole: bool, labels: str) -> None:
    root, store = tmp_path / "d", tmp_path / "store" / "images"
    for name in "ab":
        picture(store / f"{name}.png")
        text((root / "labels/train" if labels == "here" else tmp_path / "store/labels") / f"{name}.txt", BOX)
    (root / "images").mkdir(parents=True)
    if whole:
        (root / "images/train").symlink_to(store)
    else:
        (root / "images/train").mkdir()
        for name in "ab":
            (root / f"images/train/{name}.png").symlink_to(store / f"{name}.png")
    found = read(root)
    assert found.name == ["images/train/a.png", "images/train/b.png"]
    assert found.image == [0, 1] and not found.bad and not found.warnings


def test_a_linked_folder_below_the_images_is_read_and_circles_end(tmp_path: Path) -> None:
    picture(tmp_path / "store/a.png")
    text(tmp_path / "labels/train/more/a.txt", BOX)
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "images/train/more").symlink_to(tmp_path / "store")
    (tmp_path / "store/again").symlink_to(tmp_path / "store")
    found = read(tmp_path)
    assert found.name == ["images/train/more/a.png"] and len(found.box) == 1 and not found.warnings


def test_labels_beside_images_and_other_texts_there(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"pictures/{name}.webp")
    text(tmp_path / "pictures/a.txt", BOX)
    text(tmp_path / "pictures/b.txt", "")
    for name in ("classes", "readme"):
        text(tmp_path / f"pictures/{name}.txt", "a\nb\n")
    found = read(tmp_path, "train: pictures\nnames: [a]\n")
    assert len(found) == 3 and len(found.box) == 1 and not found.bad
    assert "1 of 3 images have no label file" in warned(found)["no_labels"]


def test_each_folder_tells_how_many_images_have_no_label_file(tmp_path: Path) -> None:
    for split, number in (("train", 3), ("val", 2)):
        for i in range(number):
            picture(tmp_path / f"images/{split}/{i}.png")
        text(tmp_path / f"labels/{split}/0.txt", BOX)
    found = read(tmp_path, "train: images/train\nval: images/val\nnames: [a]\n")
    told = {Path(p.where).name: p.detail for p in found.warnings}
    assert told["train"].startswith("2 of 3 images") and told["val"].startswith("1 of 2 images")


def test_a_label_file_of_two_images_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    picture(tmp_path / "images/train/a.bmp")
    text(tmp_path / "labels/train/a.txt", BOX)
    found = read(tmp_path)
    assert bad(found) == ["shared_labels"] * 2 and "also those of a.png" in found.bad[0][1].detail


def test_two_label_files_of_an_image_that_differ_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", BOX)
    text(tmp_path / "images/train/a.txt", BOX)
    assert not read(tmp_path).bad
    text(tmp_path / "images/train/a.txt", BOX * 2)
    assert bad(read(tmp_path)) == ["several_labels"]
    text(tmp_path / "images/train/a.txt", "a film of a chest")  # no labels
    assert not read(tmp_path).bad


def test_leftovers_in_labels_of_a_split_and_below(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    for name in ("a", "lost", "deep/lost"):
        text(tmp_path / f"labels/train/{name}.txt", BOX)
    text(tmp_path / "labels/train/nothing.txt", "")
    text(tmp_path / "labels/train/classes.txt", "a\n")
    found = read(tmp_path)
    assert bad(found) == ["no_image"] * 2
    assert {p.where for _, p in found.bad} == {"labels/train/lost.txt", "train/deep/lost.txt"}
    assert warned(found) == {"no_image": "1 empty label files belong to no image"}


def test_a_list_leaves_images_out_and_tells(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/train/{name}.png")
        text(tmp_path / f"labels/train/{name}.txt", BOX)
    text(tmp_path / "train.txt", "images\\train\\a.png\n", "utf-8-sig")
    found = read(tmp_path, "train: train.txt\nnames: [a]\n")
    assert found.name == ["images/train/a.png"] and len(found.box) == 1 and not found.bad
    assert "1 label files are of images that data.yaml does not name" in warned(found)["no_image"]


def test_a_byte_order_mark_is_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", BOX, "utf-8-sig")
    found = read(tmp_path, encoding="utf-8-sig")
    assert found.label == ["a"] and not found.bad


@pytest.mark.parametrize(
    ("line", "shape"), [(POSE2, "[2, 2]"), (POSE3, "[2, 3]"), (POSE3_OF_2, "[2, 3]"), (POSE2, ""), (POSE3, "")]
)
def test_a_pose_is_a_box_and_points(tmp_path: Path, line: str, shape: str) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", line)
    found = read(tmp_path, f"train: images/train\nnames: [a]\n{f'kpt_shape: {shape}' if shape else ''}\n")
    np.testing.assert_allclose(found.box, [(0.3, 0.4, 0.7, 0.6)])
    assert set(warned(found)) == (set() if shape else {"pose_lines"})


def test_polygons_stay_polygons(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", "0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n" + BOX)
    found = read(tmp_path)
    np.testing.assert_allclose(found.box[0], (0.1, 0.2, 0.3, 0.6))
    assert not found.warnings


@pytest.mark.parametrize("word", ["0.5", "inf", "nan", "-1", "2"])
def test_a_class_is_a_whole_number(tmp_path: Path, word: str) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", f"{word} 0.5 0.5 0.2 0.1\n")
    found = read(tmp_path)
    assert bad(found) == ["bad_label"] and not found.box


def test_labels_written_in_capitals_are_labels(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/train/{name}.png")
        text(tmp_path / f"Labels/train/{name}{'.TXT' if name == 'a' else '.txt'}", BOX)
    found = read(tmp_path)
    assert found.image == [0, 1] and not found.bad and not found.warnings


def test_a_count_of_classes_that_is_not_that_of_the_names_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.png")
    text(tmp_path / "labels/train/a.txt", BOX + "\r\n1\t0.5  0.5 0.2 0.2 \r\n")
    found = read(tmp_path, "train: images/train\nnc: 5\nnames: [a, b]\n")
    assert warned(found) == {"class_count": "nc is 5, but names has 2 classes, which count"} and len(found.box) == 2
    assert not warned(read(tmp_path, "train: images/train\nnc: 2\nnames: [a, b]\n"))

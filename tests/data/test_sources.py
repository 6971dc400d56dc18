"""Images that stand in no table: MedMNIST's archives, and folders of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medtrain.core.errors import DataError, MedtrainError, UsageError
from medtrain.data.base import Fixed
from medtrain.target import DataSpec
from tests.data.tables import opened, write_images
from tests.repository import data_option


def data_of(option: str, said: list[str] | None = None, **changed: Any) -> Any:
    node = data_option(option)
    assert not changed.keys() - {"fixed"} - node.keys()
    more = {key: changed.pop(key) for key in ("fixed",) if key in changed}
    said = [] if said is None else said
    return opened(option, node | {"num_workers": 0} | changed, report=said.append, **more)


def archive(file: Path, labels: int | tuple[int, ...] = 2, size: tuple[int, ...] = (8, 8), **arrays: Any) -> Path:
    """A .npz as MedMNIST's, 40/10/20 pictures of noise; `labels`: classes, or (indicators,)."""
    draw = np.random.default_rng(0)
    made = {}
    for split, count in (("train", 40), ("val", 10), ("test", 20)):
        made[f"{split}_images"] = draw.integers(0, 256, (count, *size), dtype=np.uint8)
        numbers = (
            (np.arange(count) % labels)[:, None] if isinstance(labels, int) else draw.integers(0, 2, (count, *labels))
        )
        made[f"{split}_labels"] = numbers.astype(np.uint8)
    np.savez_compressed(file, **{k: v for k, v in (made | arrays).items() if v is not None})
    return file


def test_an_archive_keeps_its_splits_size_and_pixels(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz")
    said: list[str] = []
    data = data_of("medmnist", said, file=str(file), cache_dir=str(tmp_path))
    data.prepare()
    assert data.spec == DataSpec.of("binary", ("0", "1"), 1, (8, 8), mean=(0.449,), std=(0.226,))
    assert data.cases["split"].value_counts().to_dict() == {"train": 40, "val": 10, "test": 20}
    assert data.cases["case"].iloc[[0, 40, 69]].tolist() == ["train/0", "val/0", "test/19"] and len(said) == 1
    stored = np.load(file)
    for batch in data.test_dataloader():
        numbers = batch["case"].numpy() - 50
        np.testing.assert_array_equal(batch["x"][:, 0], stored["test_images"][numbers])
        np.testing.assert_array_equal(batch["y"], stored["test_labels"][numbers])
    again = data_of("medmnist", file=str(file), cache_dir=str(tmp_path))
    again.prepare()
    assert (data.decoded, again.decoded) == (70, 0) and again.fingerprints == data.fingerprints


def test_an_archive_in_colour_at_another_size(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", labels=3, size=(8, 8, 3))
    data = data_of("medmnist", file=str(file), cache_dir=str(tmp_path), image_size=16, classes=["a", "b", "c"])
    data.prepare()
    assert data.spec.target.kind == "multiclass" and data.spec.classes == ("a", "b", "c")
    batch = next(iter(data.val_dataloader()))
    assert batch["x"].shape == (10, 3, 16, 16) and batch["y"].tolist() == [n % 3 for n in range(10)]
    grey = data_of("medmnist", file=str(file), cache_dir=str(tmp_path), channels=1)
    grey.prepare()
    assert grey.spec.channels == 1 and grey.spec.size == (8, 8)


def test_an_archive_of_indicators_is_multilabel(tmp_path: Path) -> None:
    data = data_of("medmnist", file=str(archive(tmp_path / "a.npz", labels=(3,))), cache_dir=str(tmp_path))
    data.prepare()
    assert data.spec.target.kind == "multilabel" and data.spec.classes == ("0", "1", "2")
    np.testing.assert_array_equal(data.targets[:40], np.load(tmp_path / "a.npz")["train_labels"])


def test_an_archive_for_a_trained_model(tmp_path: Path) -> None:
    spec = DataSpec.of("binary", ("normal", "ill"), 1, (6, 6), mean=(0.5,), std=(0.2,))
    data = data_of(
        "medmnist", file=str(archive(tmp_path / "a.npz")), cache_dir=str(tmp_path), fixed=Fixed(spec, all_test=True)
    )
    data.prepare()
    assert data.spec is spec and next(iter(data.test_dataloader()))["x"].shape[-2:] == (6, 6)


def test_equal_pictures_across_splits_are_a_leak(tmp_path: Path) -> None:
    val = np.load(archive(tmp_path / "a.npz"))["val_images"].copy()
    val[3] = np.load(tmp_path / "a.npz")["train_images"][7]
    file = archive(tmp_path / "b.npz", val_images=val)
    with pytest.raises(DataError, match=r"1 duplicate.*\n.*b.npz train/7: .* b.npz val/3 \(val\)"):
        data_of("medmnist", file=str(file), cache_dir=str(tmp_path)).prepare()
    said: list[str] = []
    data_of("medmnist", said, file=str(file), cache_dir=str(tmp_path), leakage="warn").prepare()
    assert any("train/7" in text for text in said)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"val_labels": None}, "lacks val_labels"),
        ({"train_images": None}, "lacks train_images"),
        ({"test_labels": np.zeros((3, 1), np.uint8)}, "20 test_images, but 3 test_labels"),
        ({"train_images": np.zeros((40, 8, 8), np.float32)}, "not uint8"),
        ({"train_images": np.zeros((40, 9, 8), np.uint8)}, "differ in size"),
        ({"train_labels": np.full((40, 1), 0.5)}, "no class numbers"),
        ({"size": (8, 8, 8, 2)}, "or volumes"),
        ({"train_images": np.array([None] * 40)}, "not a .npz that can be read"),
    ],
)
def test_broken_archives(tmp_path: Path, changed: dict[str, Any], text: str) -> None:
    with pytest.raises(MedtrainError, match=text):
        data_of("medmnist", file=str(archive(tmp_path / "a.npz", **changed)), cache_dir=str(tmp_path)).prepare()


@pytest.mark.parametrize(
    ("content", "text"), [(None, "no such file"), (b"", "not a .npz"), (b"PK\3\4xxx", "not a .npz")]
)
def test_no_archive(tmp_path: Path, content: bytes | None, text: str) -> None:
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(MedtrainError, match=text):
        data_of("medmnist", file=str(tmp_path / "a.npz"), cache_dir=str(tmp_path)).prepare()


def test_a_truncated_archive(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz")
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(DataError, match="not a .npz that can be read"):
        data_of("medmnist", file=str(file), cache_dir=str(tmp_path)).prepare()


def test_the_real_pneumoniamnist(tmp_path: Path, test_data: Path) -> None:
    file = test_data / "medmnist" / "pneumoniamnist.npz"
    said: list[str] = []
    data = data_of("medmnist", said, file=str(file), cache_dir=str(tmp_path), leakage="warn")
    data.prepare()
    assert data.cases["split"].value_counts().to_dict() == {"train": 4708, "test": 624, "val": 524}
    assert any(text.startswith("8 leaks between splits") for text in said)


def folders(root: Path, *below: str) -> Path:
    """Four pictures in each folder."""
    for n, name in enumerate(below):
        (root / name).mkdir(parents=True)
        write_images(root / name, 4, seed=n)
    return root


def test_folders_of_classes(tmp_path: Path) -> None:
    root = folders(tmp_path / "films", "ill/2019", "ill/2020", "well")
    (root / ".hidden").mkdir()
    (root / "loop").symlink_to(root, target_is_directory=True)
    data = data_of("image_folder", root=str(root), image_size=8, positive="ill", cache_dir=str(tmp_path))
    data.prepare()
    assert data.spec.classes == ("well", "ill") and len(data.cases) == 12 and data.targets.sum() == 8
    assert data.cases["case"].iloc[0] == "ill/2019/0.png"
    assert set(data.cases["split"]) == {"train", "val", "test"}


def test_folders_of_splits(tmp_path: Path) -> None:
    root = folders(tmp_path / "films", *(f"{s}/{c}" for s in ("Training", "valid", "test") for c in "012"))
    data = data_of("image_folder", root=str(root), image_size=8, cache_dir=str(tmp_path), filter="label != '2'")
    data.prepare()
    assert data.spec.target.kind == "binary" and data.cases["split"].value_counts().to_dict() == {
        "train": 8,
        "val": 8,
        "test": 8,
    }
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(batch["y"][:, 0], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_patients_of_folders(tmp_path: Path) -> None:
    root = folders(tmp_path / "films", *(f"{c}/p{n}" for c in "01" for n in range(6)))
    node = {"root": str(root), "image_size": 8, "cache_dir": str(tmp_path)}
    data = data_of("image_folder", patient_pattern=r"\d/(p\d)/", **node)
    data.prepare()
    assert data.cases["patient"].nunique() == 6
    assert (data.cases.groupby("patient")["split"].nunique() == 1).all()


@pytest.mark.parametrize(
    ("below", "text"),
    [
        ((), "no images"),
        (("a", ""), "4 images in no class's folder, such as 0.png"),
        (("train/a", "test"), "4 images in no class's folder, such as test/0.png"),
        (("only",), "only one class"),
    ],
)
def test_folders_that_say_no_classes(tmp_path: Path, below: tuple[str, ...], text: str) -> None:
    (tmp_path / "films").mkdir()
    for n, name in enumerate(below):
        (tmp_path / "films" / name).mkdir(parents=True, exist_ok=True)
        write_images(tmp_path / "films" / name, 4, seed=n)
    with pytest.raises(DataError, match=text):
        data_of("image_folder", root=str(tmp_path / "films"), image_size=8, cache_dir=str(tmp_path)).prepare()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        data_of("image_folder", root=str(tmp_path / "films")).prepare()


def test_two_named_classes_need_a_positive_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "films", "NORMAL", "PNEUMONIA")
    with pytest.raises(UsageError, match="data.positive='PNEUMONIA'"):
        data_of("image_folder", root=str(root)).prepare()

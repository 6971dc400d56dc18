"""A room's names: what its files define, without a list."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = ("model", "loss", "sampler", "encoder", "augment", "callbacks", "logger", "scheduler", "transfer")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that offers what is put into it."""
    folder = tmp_path / "room_for_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("from medtrain.core.offer import offer\n\noffer(__name__)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.startswith("room_for_test")]:
        del sys.modules[name]


def test_what_files_define_is_offered_and_what_they_import_is_not(room: Path) -> None:
    (room / "dice.py").write_text("from math import sqrt\n\ndef dice(): ...\n\ndef _own(): ...\n")
    (room / "boundary.py").write_text("from room_for_test.dice import dice\n\nLIMIT = 3\n\nclass Boundary: ...\n")
    package = importlib.import_module("room_for_test")
    assert callable(package.dice) and package.dice.__module__ == "room_for_test.dice"  # not the file of its name
    assert package.Boundary.__module__ == "room_for_test.boundary"
    assert not {"sqrt", "_own", "LIMIT"} & set(vars(package))


def test_two_files_cannot_mean_the_same_name(room: Path) -> None:
    for name in ("a", "b"):
        (room / f"{name}.py").write_text("def check(): ...\n")
    package = importlib.import_module("room_for_test")
    for look in (lambda: package.check, lambda: dir(package)):
        with pytest.raises(ImportError, match=r"a\.py and b\.py both define 'check'"):
            look()


def test_a_file_is_imported_when_it_is_asked_for_and_no_other(room: Path) -> None:
    (room / "dice.py").write_text("def dice(): ...\n")
    (room / "boundary.py").write_text("def boundary(): ...\n\nof_two = boundary\n\nclass Boundary: ...\n")
    (room / "heavy.py").write_text("raise RuntimeError\n")
    package = importlib.import_module("room_for_test")
    importlib.import_module("room_for_test.dice")  # by somebody else, who binds the file to the room
    assert callable(package.dice)
    assert callable(package.boundary) and package.Boundary.__name__ == "Boundary"
    assert not hasattr(package, "of_three")


@pytest.mark.parametrize("room", ROOMS)
def test_all_that_files_of_medtrain_define_is_seen_without_importing_them(room: str) -> None:
    package = importlib.import_module(f"medtrain.{room}")
    for name in dir(package):  # which imports all
        if not name.startswith("_") and name not in vars(package):
            assert getattr(package, name).__module__.startswith(f"medtrain.{room}."), name


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_medtrain_have_the_names_of_0_1(room: str) -> None:
    package = importlib.import_module(f"medtrain.{room}")
    names = {
        "model": "densenet121 densenet169 densenet201 densenet121_3d resnet18 resnet34 resnet50 resnet101 resnet10_3d "
        "resnet18_3d resnet34_3d resnet50_3d efficientnet_b0 efficientnet_b3 convnext_tiny mean_mil max_mil topk_mil "
        "attention_mil gated_attention_mil end_to_end_mil faster_rcnn faster_rcnn_mobilenet retinanet fcos yolo",
        "loss": "cross_entropy balanced_cross_entropy focal DetectionLoss OwnLoss",
        "sampler": "Shuffle Weighted Balanced Negatives HardNegative EvalSampler",
        "encoder": "Encoder descriptor efficientnet_lite0 timm torchvision",
        "augment": "Augment2d Augment3d AugmentBoxes Identity Views2d Views3d mixup",
        "callbacks": "BestCheckpoint LastCheckpoint EMA Mining Preemption Progress Speed WholeCheckpointIO",
        "logger": "CSVLog TensorBoardLog MLflowLog WandbLog",
        "scheduler": "cosine constant one_cycle Plateau",
        "transfer": "Transfer",
    }
    for name in names[room].split():
        assert getattr(package, name).__module__.startswith(f"medtrain.{room}."), name

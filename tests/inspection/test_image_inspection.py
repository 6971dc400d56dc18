"""What an inspection finds: everything that is planted, at the row where it was planted, and nothing else."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.data.phantom.xray import make_phantom_xray
from medtrain.inspection import Inspection, Known, Measures, inspect_data, measure, near_duplicates
from medtrain.inspection.odd import likeness_of
from medtrain.inspection.twins import candidates
from tests.data.tables import config, opened
from tests.dicom_files import write

SIZE = 64


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 24 patients' films with an official split, by patient."""
    folder = tmp_path_factory.mktemp("films")
    make_phantom_xray(folder, patients=24, image_size=SIZE, seed=3)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    number = table["patient"].str[1:].astype(int)
    table["split"] = np.select([number < 15, number < 19], ["train", "val"], "test")
    table.to_csv(folder / "table.csv", index=False)
    return folder


class Films:
    """A copy of the films to plant problems in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder, pd.read_csv(folder / "table.csv", dtype=str)

    def file(self, row: int) -> Path:
        return self.folder / str(self.table.loc[row, "path"])

    def rows(self, split: str) -> list[int]:
        return self.table.index[self.table["split"] == split].tolist()

    def grey(self, row: int) -> np.ndarray[Any, Any]:
        stored = np.asarray(Image.open(self.file(row)))
        return stored if stored.dtype == np.uint8 else (stored >> 4).astype(np.uint8)

    def save(self, row: int, grey: np.ndarray[Any, Any]) -> None:
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(self.file(row))

    def inspect(self, **changed: Any) -> Inspection:
        self.table.to_csv(self.folder / "table.csv", index=False)
        node = config(table=str(self.folder / "table.csv"), image_size=SIZE, cache_dir=str(self.folder / "cache"))
        return inspect_data(opened("image_table", node | changed))


@pytest.fixture
def planted(films: Path, tmp_path: Path) -> Films:
    shutil.copytree(films, tmp_path / "films")
    return Films(tmp_path / "films")


def told(found: Inspection) -> list[tuple[str, str, str]]:
    return [(f.problem.severity, f.problem.kind, f.problem.where) for f in found.findings]


def at(films: Films, row: int) -> str:
    return f"table.csv row {row + 2} ({films.table.loc[row, 'path']})"


def test_clean_films_have_no_problems(planted: Films) -> None:
    found = planted.inspect()
    assert found.findings == []
    assert (found.cases["split"] == planted.table["split"]).all()
    assert found.images["measured"] == len(planted.table)
    assert found.images["bits"] == {
        "8": sum(np.asarray(Image.open(planted.file(n))).dtype == np.uint8 for n in planted.table.index),
        "16": sum(np.asarray(Image.open(planted.file(n))).dtype == np.uint16 for n in planted.table.index),
    }


def test_all_that_is_planted_is_found_at_its_row_and_nothing_else(planted: Films) -> None:
    train, val, test = (planted.rows(name) for name in ("train", "val", "test"))
    table = planted.table
    leaked, twin, conflict, inverted, constant, truncated, missing, clipped, small, blank = train[:10]
    table.loc[test[0], "patient"] = table.loc[leaked, "patient"]
    shutil.copy(planted.file(twin), planted.file(test[1]))
    table.loc[test[1], "label"] = table.loc[twin, "label"]
    shutil.copy(planted.file(conflict), planted.file(train[10]))
    table.loc[train[10], "label"] = str(1 - int(table.loc[conflict, "label"]))
    Image.fromarray(planted.grey(train[11])).save(planted.file(val[0]).with_suffix(".jpg"), quality=70)
    table.loc[val[0], ["path", "label"]] = [
        table.loc[val[0], "path"].replace(".png", ".jpg"),
        table.loc[train[11], "label"],
    ]
    planted.save(inverted, 255 - planted.grey(inverted))
    planted.save(constant, np.full((70, 66), 77))
    planted.save(clipped, planted.grey(clipped) * 2.5)
    Image.fromarray(planted.grey(small)).resize((10, 11)).save(planted.file(small))
    whole = planted.file(truncated).read_bytes()
    planted.file(truncated).write_bytes(whole[: len(whole) // 2])
    planted.file(missing).unlink()
    table.loc[blank, "label"] = ""
    found = planted.inspect()
    assert sorted(told(found)) == sorted(
        [
            ("error", "patient_leak", f"patient {table.loc[leaked, 'patient']}"),
            ("error", "duplicate", at(planted, twin)),
            ("error", "label_conflict", at(planted, conflict)),
            ("warning", "duplicate", at(planted, conflict)),
            ("warning", "near_duplicate", at(planted, train[11])),
            ("warning", "inverted", at(planted, inverted)),
            ("warning", "constant", at(planted, constant)),
            ("error", "unreadable", at(planted, truncated)),
            ("error", "missing", f"table.csv row {missing + 2}"),
            ("warning", "saturated", at(planted, clipped)),
            ("warning", "wrong_size", at(planted, small)),
            ("error", "missing_label", f"table.csv row {blank + 2}"),
        ]
    )
    assert [s for s, _, _ in told(found)] == sorted((s for s, _, _ in told(found)), key=["error", "warning"].index)
    assert set(found.cases["split"][[truncated, missing, blank]]) == {""}
    assert found.picture(missing) is None and found.picture(truncated) is None
    assert found.picture(blank).shape == (1, SIZE, SIZE)


def test_what_training_lets_pass_is_a_warning(planted: Films) -> None:
    train, test = planted.rows("train"), planted.rows("test")
    planted.table.loc[test[0], "patient"] = planted.table.loc[train[0], "patient"]
    planted.file(train[1]).unlink()
    severe = {kind: severity for severity, kind, _ in told(planted.inspect(leakage="drop", on_bad="skip"))}
    assert severe == {"patient_leak": "warning", "missing": "warning"}


def test_labels_that_need_a_positive_class_are_inspected_all_the_same(planted: Films) -> None:
    planted.table["label"] = planted.table["label"].map({"0": "normal", "1": "opacity"})
    found = planted.inspect()
    assert told(found) == [("warning", "no_positive", "data.positive")]
    assert found.spec is not None and found.spec.classes == ("normal", "opacity")


def test_several_labels_a_film(planted: Films) -> None:
    """Unknown contradicts nothing; yes and no for the same class do."""
    train = planted.rows("train")
    for one, other in ((0, 1), (2, 3)):
        shutil.copy(planted.file(train[one]), planted.file(train[other]))
    columns = {"opacity": ["1", "", "1", "0"], "nodule": ["", "0", "0", "0"]}
    for name, values in columns.items():
        planted.table.loc[train[:4], name] = values
    node = config(columns={"label": ["opacity", "nodule"]})["columns"]
    found = planted.inspect(columns=node)
    conflicts = [where for _, kind, where in told(found) if kind == "label_conflict"]
    assert conflicts == [at(planted, train[2])]


def test_data_that_cannot_be_split_are_looked_at_all_the_same(planted: Films) -> None:
    planted.table = planted.table.drop(columns="split")
    planted.table["patient"] = "one"
    inverted = 5
    planted.save(inverted, 255 - planted.grey(inverted))
    found = planted.inspect()
    assert {("error", "no_split", "the splits"), ("warning", "inverted", at(planted, inverted))} <= set(told(found))
    assert set(found.cases["split"]) == {"all"}


def test_a_table_of_one_class_is_an_error_not_a_crash(planted: Films) -> None:
    planted.table["label"] = "1"
    ((severity, kind, _),) = told(planted.inspect())
    assert (severity, kind) == ("error", "unusable")


def test_dicom_that_is_read_but_not_without_a_word(planted: Films, capsys: pytest.CaptureFixture[str]) -> None:
    rows = planted.rows("train")[:2]
    write(planted.file(rows[0]), planted.grey(rows[0]), PresentationIntentType="FOR PROCESSING")
    write(planted.file(rows[1]), planted.grey(rows[1]), PixelAspectRatio=["2", "1"])
    found = planted.inspect()
    expected = [("warning", kind, at(planted, row)) for kind, row in zip(("raw", "oblong"), rows, strict=True)]
    assert [one for one in told(found) if one[1] in ("raw", "oblong")] == expected
    lines = capsys.readouterr()
    assert f"1 of {len(planted.table)} pictures: marked FOR PROCESSING" in lines.out + lines.err


def test_folders(planted: Films, tmp_path: Path) -> None:
    for row in planted.table.index:
        split, label = planted.table.loc[row, ["split", "label"]]
        place = tmp_path / "root" / split / f"c{label}" / planted.file(row).name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(planted.file(row), place)
    leak = tmp_path / "root" / "test" / "c0" / "again.png"
    first = sorted((tmp_path / "root" / "train" / "c0").glob("*.png"))[0]
    shutil.copy(first, leak)
    cfg = config() | {"root": str(tmp_path / "root"), "image_size": 32, "classes": ["c0", "c1"]}
    found = inspect_data(opened("image_folder", cfg | {"cache_dir": str(tmp_path / "cache")}))
    kinds = [(severity, kind) for severity, kind, _ in told(found)]
    assert kinds == [("error", "duplicate"), ("warning", "no_patient")]


def test_the_known_leak_of_the_real_file(test_data: Path, tmp_path: Path) -> None:
    """Eight validation images of this copy of PneumoniaMNIST also stand in train (its page says so)."""
    node = {"file": str(test_data / "medmnist" / "pneumoniamnist.npz")}
    found = inspect_data(opened("medmnist", node | {"cache_dir": str(tmp_path)}), near=False)
    assert [kind for severity, kind, _ in told(found) if severity == "error"] == ["duplicate"] * 8
    assert "inverted" not in {kind for _, kind, _ in told(found)}


def test_the_negative_among_real_films(test_data: Path, tmp_path: Path) -> None:
    """Of nine real films one is a negative: its header was changed to MONOCHROME1 but its pixels were not."""
    files = sorted(p for p in (test_data / "xray").rglob("*") if p.suffix in (".png", ".jpg", ".dcm"))
    table = pd.DataFrame({"path": files, "label": [n % 2 for n in range(len(files))]})
    table.to_csv(tmp_path / "table.csv", index=False)
    node = config(table=str(tmp_path / "table.csv"), image_size=128, cache_dir=str(tmp_path / "cache"))
    found = inspect_data(opened("image_table", node))
    negatives = [f.rows for f in found.findings if f.problem.kind == "inverted"]
    assert [files[row].name for (row,) in negatives] == ["Fake_MONOHR1.dcm"]
    assert "near_duplicate" not in {kind for _, kind, _ in told(found)}
    assert found.images["format"] == {"PNG": 5, "DICOM": 2, "JPEG": 2}


FULL = (slice(None), slice(None))


def measured(pictures: np.ndarray[Any, Any]) -> Measures:
    return measure(pictures, np.arange(len(pictures)), [FULL] * len(pictures), None)


def test_measures_are_those_of_numpy() -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (3, 3, 40, 50)).astype(np.uint8)
    x[0, :, :10] = 255
    x[1] = 9
    found = measured(x)
    np.testing.assert_allclose(found.mean, x.mean((1, 2, 3)) / 255)
    np.testing.assert_allclose(found.sd, x.std((1, 2, 3)) / 255)
    assert found.high.tolist() == pytest.approx([0.25, 0, 0], abs=1e-3) and found.flat.tolist() == [False, True, False]
    deep = measured(x.astype(np.uint16) * 257)
    np.testing.assert_allclose(deep.mean, found.mean)
    np.testing.assert_array_equal(deep.hash, found.hash)


def test_padding_counts_for_nothing() -> None:
    draw = np.random.default_rng(0)
    inner = draw.integers(0, 255, (1, 1, 40, 20)).astype(np.uint8)
    padded = np.zeros((1, 1, 40, 40), np.uint8)
    padded[..., 10:30] = inner
    found = measure(padded, np.arange(1), [(slice(0, 40), slice(10, 30))], None)
    alone = measured(inner)
    assert found.mean == alone.mean and found.low == alone.low and (found.hash == alone.hash).all()


@pytest.mark.parametrize("share", [0.03, 0.2, 0.4])
def test_negatives_among_many_are_told_by_the_majority(films: Path, share: float) -> None:
    paths = sorted((films / "images").glob("*.png"))[:30]
    x = np.stack([np.asarray(Image.open(p).convert("L").resize((SIZE, SIZE))) for p in paths])[:, None]
    turned = np.arange(len(x)) < share * len(x)
    x[turned] = 255 - x[turned]
    likeness = likeness_of(measured(x))
    if share < 0.4:
        np.testing.assert_array_equal(likeness < 0, turned)
    else:  # there is no typical picture any more: nothing is said, rather than something wrong
        assert not (likeness < 0)[~turned].any()


def test_nothing_is_inverted_among_pictures_of_all_kinds() -> None:
    draw = np.random.default_rng(0)
    assert (likeness_of(measured(draw.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8))) == 0).all()


def test_candidates_are_those_of_all_pairs() -> None:
    draw = np.random.default_rng(0)
    bits = draw.random((700, 256)) < draw.uniform(0.02, 0.98, 256)
    for n in range(0, 700, 7):
        changed = draw.permutation(256)[: draw.integers(0, 40)]
        bits[draw.integers(700)] = bits[n] ^ np.isin(np.arange(256), changed)
    words = np.packbits(bits, axis=1).view(np.uint64)
    near = (bits[:, None] != bits[None]).sum(-1) <= 20
    expected = {(i, j) for i, j in zip(*np.nonzero(np.tril(near, -1)), strict=True)}
    found = {(i, j) for i, early in candidates(words, None) for j in early.tolist()}
    assert len(expected) > 40 and found <= expected
    assert {i for i, _ in found} == {i for i, _ in expected}  # of each, the nearest few are enough


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda im: _jpeg(im, 60), True),
        (lambda im: im.resize((110, 120)).resize((100, 100)), True),
        (lambda im: im.point(lambda v: min(255, int(1.1 * v + 6))), True),
        (lambda im: im.crop((8, 8, 92, 92)).resize((100, 100)), False),
        (lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT), False),
    ],
    ids=["jpeg", "scaled", "brighter", "cropped", "mirrored"],
)
def test_what_looks_the_same(films: Path, change: Callable[[Image.Image], Image.Image], same: bool) -> None:
    paths = sorted((films / "images").glob("*.png"))[:6]
    images = [Image.fromarray(_eight(np.asarray(Image.open(p)))).resize((100, 100)) for p in paths]
    x = np.stack([np.asarray(im) for im in [*images, change(images[2])]])[:, None]
    split, targets = np.array(["train"] * 6 + ["test"]), np.array([[0.0]] * 6 + [[1.0]])
    places = [f"row {n}" for n in range(7)]
    found = near_duplicates(measured(x), x, [FULL] * 7, np.ones(7, bool), Known(split, targets, places))
    kinds = [(f.problem.severity, f.problem.kind, f.rows) for f in found]
    expected = [("warning", "near_duplicate", (2, 6)), ("warning", "label_conflict", (2, 6))]
    assert kinds == (expected if same else [])


def _eight(stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return stored if stored.dtype == np.uint8 else (stored >> 4).astype(np.uint8)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)

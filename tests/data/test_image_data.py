"""From a table to batches: what a batch holds, what stops it, and what is left out."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Sampler

from medtrain.core.errors import DataError, UsageError
from medtrain.data.base import Fixed
from medtrain.data.batches import module_of
from medtrain.data.batches.images import ImageData
from medtrain.data.source import sources
from medtrain.sampler import Balanced
from medtrain.target import DataSpec
from tests.data.tables import config, spoil, write_table

Make = Callable[..., ImageData]


def test_a_binary_batch(make: Make) -> None:
    data = make()
    data.prepare()
    assert data.spec == DataSpec.of("binary", ("0", "1"), 1, (8, 8), mean=(0.449,), std=(0.226,))
    assert data.cases.columns.tolist() == ["case", "patient", "split", "fold", "path"]
    assert data.decoded == 40 and not data.synthetic and data.cases["fold"].isna().all()
    batch = next(iter(data.train_dataloader()))
    assert batch["x"].shape == (4, 1, 8, 8) and batch["x"].dtype == torch.uint8
    assert batch["y"].shape == (4, 1) and batch["y"].dtype == torch.float32
    assert batch["case"].dtype == torch.int64
    np.testing.assert_array_equal(batch["y"][:, 0], data.targets[batch["case"].numpy()])
    assert set(data.cases["split"].iloc[batch["case"].numpy()]) == {"train"}
    data.prepare()  # nothing happens twice
    assert data.decoded == 40


def test_a_multiclass_batch(make: Make) -> None:
    data = make(columns={"label": [("a", "b", "c")[n // 2 % 3] for n in range(40)]})
    data.prepare()
    batch = next(iter(data.val_dataloader()))
    assert batch["y"].dtype == torch.int64 and batch["y"].ndim == 1 and data.spec.classes == ("a", "b", "c")


def test_a_multilabel_batch(make: Make) -> None:
    columns = {"u": [("0", "1", "")[n % 3] for n in range(40)], "v": [n % 2 for n in range(40)]}
    data = make({"columns": {"label": ["u", "v"]}}, columns=columns)
    data.prepare()
    batch = next(iter(data.test_dataloader()))
    assert batch["y"].shape[1] == data.spec.n_logits == 2 and data.spec.target.kind == "multilabel"
    assert torch.cat([batch["y"] for batch in data.test_dataloader()]).isnan().any()


def test_deep_images_are_floats(make: Make) -> None:
    data = make(deep=True)
    data.prepare()
    x = next(iter(data.test_dataloader()))["x"]
    assert x.dtype == torch.float32 and 0.5 < x.max() <= 1


def test_each_split_comes_whole(make: Make) -> None:
    data = make({"num_workers": 1})
    data.prepare()
    cases = torch.cat([batch["case"] for batch in data.test_dataloader()])
    np.testing.assert_array_equal(cases, data.rows("test"))
    assert sorted(data.cases["split"].unique()) == ["test", "train", "val"]
    assert data.cases.groupby("patient")["split"].nunique().max() == 1


def test_the_sampler_is_given_labels_and_patients(make: Make) -> None:
    seen: dict[str, Any] = {}

    class Reverse(Sampler[int]):
        def __init__(self, **given: Any) -> None:
            seen.update(given)

        def __iter__(self) -> Any:
            return iter(reversed(range(len(self))))

        def __len__(self) -> int:
            return len(seen["labels"])

    data = make(build_sampler=Reverse, seed=7)
    loader = data.train_dataloader()
    rows = data.rows("train")
    assert seen["seed"] == 7 and seen["batch_size"] == 4 and (seen["rank"], seen["world"]) == (0, 1)
    np.testing.assert_array_equal(seen["labels"], data.targets[rows])
    np.testing.assert_array_equal(seen["groups"], data.cases["patient"].to_numpy()[rows])
    np.testing.assert_array_equal(next(iter(loader))["case"], rows[::-1][:4])


def test_repeated_images_carry_the_number_of_the_draw(make: Make) -> None:
    data = make(build_sampler=Balanced, columns={"label": [int(n < 4) for n in range(40)]})
    batches = list(data.train_dataloader())
    assert len(batches) == 7 and all(batch["draw"].dtype == torch.int64 for batch in batches)
    assert all(batch["y"].sum() == 2 for batch in batches)
    pairs = [pair for batch in batches for pair in zip(batch["case"].tolist(), batch["draw"].tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs) == 28 and max(draw for _, draw in pairs) >= 3
    np.testing.assert_array_equal(batches[0]["y"][:, 0], data.targets[batches[0]["case"].numpy()])
    assert "draw" not in next(iter(data.val_dataloader()))


@pytest.mark.parametrize(("batch_size", "drops"), [(3, True), (4, False), (27, True), (28, False), (64, False)])
def test_no_training_batch_of_one(make: Make, batch_size: int, drops: bool) -> None:
    data = make({"batch_size": batch_size})
    data.prepare()
    assert len(data.rows("train")) == 28
    assert data.train_dataloader().batch_sampler.drop_last is drops


def test_a_dataset_pickles_small(make: Make) -> None:
    data = make()
    data.prepare()
    dataset = data.dataset(np.array([3, 1]))
    assert dataset[0]["case"] == 3
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.__getitems__([1, 0])["x"], dataset.__getitems__([1, 0])["x"])


def test_a_second_start_decodes_nothing_and_splits_alike(make: Make) -> None:
    first, second = make(), make(seed=5)
    first.prepare()
    second.prepare()
    assert (first.decoded, second.decoded) == (40, 0)
    pd.testing.assert_frame_equal(first.cases, second.cases)
    assert first.fingerprints == second.fingerprints and len(first.fingerprints["split"]) == 64
    other = make({"split_seed": 1})
    other.prepare()
    assert other.fingerprints["table"] == first.fingerprints["table"]
    assert other.fingerprints["split"] != first.fingerprints["split"]


def test_everything_wrong_is_listed(make: Make, tmp_path: Path) -> None:
    make()
    spoil(tmp_path)
    labels = ["0", "1"] * 19 + ["", "1"]
    with pytest.raises(DataError, match=r"3 problems.*(?s:.)*on_bad=skip") as caught:
        make(columns={"label": labels}).prepare()
    kinds = {problem.kind: problem for problem in caught.value.problems}
    assert kinds.keys() == {"unreadable", "missing", "missing_label"}
    assert "row 5 (3.png)" in str(kinds["unreadable"]) and "truncated" in str(kinds["unreadable"])
    assert "row 7" in str(kinds["missing"]) and "row 40" in str(kinds["missing_label"])


def test_bad_rows_can_be_left_out(make: Make, tmp_path: Path) -> None:
    make()
    spoil(tmp_path)
    data = make({"on_bad": "skip"})
    data.prepare()
    assert len(data.cases) == 38 == len(data.targets) == len(data.table) and not {"3.png", "5.png"} & set(
        data.cases["case"]
    )
    assert "left out 2 of 40 rows" in make.said[0] and len(data.problems) == 2  # type: ignore[attr-defined]
    again = make({"on_bad": "skip"}, fixed=Fixed(splits=data.cases))
    again.prepare()
    pd.testing.assert_frame_equal(again.cases, data.cases)


def test_nothing_left_to_use(make: Make, tmp_path: Path) -> None:
    make()
    for file in tmp_path.glob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 40 rows"):
        make({"on_bad": "skip"}).prepare()


def leaky() -> dict[str, Any]:
    return {"split": ["train"] * 25 + ["val"] * 5 + ["test"] * 10}  # patient p12 is in train and val


@pytest.mark.parametrize("policy", ["error", "warn", "drop"])
def test_leakage(make: Make, tmp_path: Path, policy: str) -> None:
    make()
    (tmp_path / "0.png").write_bytes((tmp_path / "39.png").read_bytes())
    data = make({"leakage": policy}, columns=leaky())
    if policy == "error":
        with pytest.raises(DataError, match=r"2 problems.*duplicate") as caught:
            data.prepare()
        assert {problem.kind for problem in caught.value.problems} == {"patient_leak", "duplicate"}
        return
    data.prepare()
    assert "2 leaks" in make.said[0]  # type: ignore[attr-defined]
    assert len(data.cases) == (40 if policy == "warn" else 38)
    if policy == "drop":
        assert not {"0.png", "24.png"} & set(data.cases["case"])


def test_equal_files_stay_together(make: Make, tmp_path: Path) -> None:
    make()
    for n in range(4, 40, 4):  # every second patient has a file of the patient before
        (tmp_path / f"{n}.png").write_bytes((tmp_path / f"{n - 2}.png").read_bytes())
    data = make()
    data.prepare()
    split = data.cases["split"].to_numpy()
    assert {problem.kind for problem in data.problems} <= {"duplicate", "label_conflict"} and all(
        split[n] == split[n - 2] for n in range(4, 40, 4)
    )


def test_folds_and_sites(make: Make) -> None:
    columns = {"site": [("a", "b", "c")[n // 2 % 3] for n in range(40)]}
    data = make({"split_by": "site", "fold": 1}, columns=columns)
    data.prepare()
    np.testing.assert_array_equal(data.cases["split"] == "test", data.table["site"] == "b")
    assert data.held_out == {"site": "b", "fold": 1, "sites": 3}
    assert data.cases["fold"].tolist() == ["abc".index(site) for site in data.table["site"]]
    data = make({"folds": 4, "fold": 0})
    data.prepare()
    assert data.cases["fold"].tolist().count(0) == (data.cases["split"] == "test").sum()


def test_a_patient_of_two_sites_is_a_leak(make: Make) -> None:
    columns = {"site": [("a", "b", "c")[n // 2 % 3] for n in range(40)]}
    columns["site"][1] = "b"  # p0 was seen in a, too
    with pytest.raises(DataError, match=r"patient p0: stands in train \(1 files\) and test \(1 files\)"):
        make({"split_by": "site", "fold": 1}, columns=columns).prepare()
    data = make({"split_by": "site", "fold": 1, "leakage": "drop"}, columns=columns)
    data.prepare()
    assert len(data.cases) == 39 and data.cases.set_index("case").loc["1.png", "split"] == "test"


def test_a_blank_site_is_listed(make: Make) -> None:
    with pytest.raises(DataError, match="1 rows have no site:\n  table.csv row 2: the site is blank\n.*data.filter"):
        make({"split_by": "site", "fold": 1}, columns={"site": ["", *"ab" * 19, "a"]}).prepare()


@pytest.mark.parametrize(
    ("cfg", "text"),
    [
        ({"split_by": "site"}, "data.columns.site"),
        ({"split_by": "sites"}, "did you mean 'site'"),
        ({"leakage": "warning"}, "did you mean 'warn'"),
        ({"on_bad": "ignore"}, "none of error, skip"),
        ({"fit": "squeeze"}, "none of pad"),
        ({"channels": 2}, "2 channels"),
        ({"window": [5]}, "window"),
        ({"image_size": [1, 2, 3]}, "image_size"),
        ({"std": 0.0}, "data.std"),
        ({"mean": [0.1, 0.2]}, "data.mean"),
        ({"fold": 2}, "data.folds"),
    ],
)
def test_faults_of_the_configuration_come_before_decoding(
    make: Make, cfg: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=text):
        make(cfg).prepare()
    assert not (tmp_path / "cache").exists()


def test_colour_is_normalised_like_imagenet(make: Make) -> None:
    data = make({"channels": 3, "image_size": [6, 9]})
    data.prepare()
    assert data.spec.size == (6, 9) and data.spec.mean == (0.485, 0.456, 0.406)
    assert next(iter(data.test_dataloader()))["x"].shape[1:] == (3, 6, 9)


def test_a_runs_splits_are_used_again(make: Make, tmp_path: Path) -> None:
    first = make()
    first.prepare()
    first.cases.drop(columns="path").to_csv(tmp_path / "splits.csv", index=False)
    known = pd.read_csv(tmp_path / "splits.csv", dtype={"case": str, "patient": str})
    again = make({"split_seed": 9}, fixed=Fixed(splits=known))
    again.prepare()
    pd.testing.assert_frame_equal(again.cases, first.cases)
    with pytest.raises(DataError, match="the table has changed since the run: 0 cases are gone, 1 are new"):
        make(fixed=Fixed(splits=known.iloc[1:])).prepare()
    with pytest.raises(DataError, match="1 cases are gone"):
        make(fixed=Fixed(splits=known.replace({"case": {"0.png": "other.png"}}))).prepare()


def test_other_data_for_a_trained_model(make: Make) -> None:
    spec = DataSpec.of("binary", ("0", "1"), 3, (5, 5), mean=(0.1,) * 3, std=(0.2,) * 3)
    data = make(fixed=Fixed(spec, all_test=True))
    data.prepare()
    assert data.spec is spec and set(data.cases["split"]) == {"test"}
    assert next(iter(data.test_dataloader()))["x"].shape == (4, 3, 5, 5)
    official = make(fixed=Fixed(spec, all_test=True), columns={"split": ["train"] * 10 + [""] * 30})
    official.prepare()
    assert official.cases["split"].tolist() == ["train"] * 10 + ["test"] * 30
    with pytest.raises(DataError, match=r"labels that the model doesn't know: '2' \(10 rows\)"):
        make(fixed=Fixed(spec, all_test=True), columns={"label": [0, 1, 2, 1] * 10}).prepare()


def test_coco_annotated_films_with_a_table_of_their_own(test_data: Path, tmp_path: Path) -> None:
    root = test_data / "xray" / "tbx11k"
    names = [image["file_name"] for image in json.loads(next(root.rglob("*.json")).read_text())["images"]]
    found = [path for name in names for path in root.rglob(Path(name).name)][:3]
    rows = "\n".join(f"{path.relative_to(root)},{int('tb' in path.parts)}" for path in found)
    table = write_table(tmp_path, f"path,label\n{rows}\n")
    data = ImageData(
        config(table=table, root=str(root), image_size=16, cache_dir=str(tmp_path)),
        fixed=Fixed(DataSpec.of("binary", ("0", "1"), 1, (16, 16)), all_test=True),
        report=lambda text: None,
    )
    data.prepare()
    assert len(data.cases) == len(found) >= 2 and data.problems[0].kind == "no_patient"


def test_sources() -> None:
    assert module_of({"name": "image_table"}) is ImageData
    assert all(hasattr(module_of({"name": name}), "prepare") for name in sources())
    with pytest.raises(UsageError, match="none of .*image_folder, image_table"):
        module_of({"name": "image_tabel"})

"""Several images a case: what is put together, what contradicts, what is left out, and what batches hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.bags import BagData
from medtrain.data.batches.images import ImageData, mosaic
from medtrain.data.batches.volumes import VolumeData
from medtrain.inspection.images import inspect
from medtrain.io.content import of_several
from medtrain.target import DataSpec
from tests.data.tables import config, write_images, write_table
from tests.volumes import nodules

VIEWS = [case for case in range(20) for _ in range(case % 3 + 1)]  # the case of each image: 1, 2, 3, 1, ... images


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """20 cases of 10 patients, in an order in which no case stands together."""
    paths = write_images(tmp_path, len(VIEWS))
    rows = {"path": paths, "label": [case // 2 % 2 for case in VIEWS], "patient": [f"p{case // 2}" for case in VIEWS]}
    rows |= {"exam": [f"e{case}" for case in VIEWS], "age": [30 + case for case in VIEWS]}
    return pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)


def build(folder: Path, frame: pd.DataFrame, **changed: Any) -> ImageData:
    table = write_table(folder, frame.to_csv(index=False))
    cfg = {"table": table, "image_size": 8, "batch_size": 4, "cache_dir": str(folder / "cache")} | changed
    columns = {"case": "exam"} | cfg.pop("columns", {})
    return ImageData(config(**cfg, columns=columns), report=lambda text: None)


def listed(data: ImageData) -> list[tuple[str, str, str]]:
    with pytest.raises(DataError) as caught:
        data.prepare()
    return [(problem.kind, problem.where, problem.detail) for problem in caught.value.problems]


def of(frame: pd.DataFrame, case: str) -> list[int]:
    return frame.index[frame["exam"] == case].tolist()


def test_a_case_is_one_row_of_all_that_is_written(tmp_path: Path, frame: pd.DataFrame) -> None:
    data = build(tmp_path, frame)
    data.prepare()
    table = data.split_table()
    assert table["case"].tolist() == list(dict.fromkeys(frame["exam"])) and len(table) == 20
    assert table.groupby("patient")["split"].nunique().max() == 1
    images = ImageData(config(table=str(tmp_path / "table.csv"), image_size=8, cache_dir=str(tmp_path / "cache")))
    images.prepare()
    alone = images.split_table()["content"]
    for case, content in zip(table["case"], table["content"], strict=True):
        assert content == of_several(sorted(alone[row] for row in of(frame, case)))
    assert data.table["age"].tolist() == [30 + int(case[1:]) for case in data.cases["case"]]
    paths = sorted(Path(file).name for split in ("train", "val", "test") for file in data.files_of_split(split))
    assert paths == sorted(frame["path"])


def test_a_column_that_nobody_names_puts_nothing_together(tmp_path: Path, frame: pd.DataFrame) -> None:
    data = build(tmp_path, frame.rename(columns={"exam": "case"}), columns={"case": None})
    found = listed(data)
    assert {kind for kind, *_ in found} == {"duplicate_row"} and len(found) == len(VIEWS) - 20
    assert "data.columns.case" in found[0][2]


def test_all_contradictions_are_listed(tmp_path: Path, frame: pd.DataFrame) -> None:
    label, patient, age, split = (of(frame, case)[-1] for case in ("e2", "e5", "e8", "e11"))
    frame.loc[label, "label"] = 1 - frame.loc[label, "label"]
    frame.loc[patient, "patient"] = "another"
    frame.loc[age, "age"] = 99
    frame["split"] = ["test" if case > 15 else "train" for case in (int(name[1:]) for name in frame["exam"])]
    frame.loc[split, "split"] = "test"
    found = listed(build(tmp_path, frame, covariates=["age"]))
    wanted = {"label_conflict": label, "patient_conflict": patient, "age_conflict": age, "split_conflict": split}
    assert {(kind, where) for kind, where, _ in found} == {(k, f"table.csv row {n + 2}") for k, n in wanted.items()}
    assert all("the same case" in detail for *_, detail in found)
    left = build(tmp_path, frame, covariates=["age"], on_bad="skip")
    left.prepare()
    assert len(left.cases) == 16 and left.excluded == dict.fromkeys(wanted, 1)


def test_groups_of_results_are_groups_of_cases(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["sex"], frame["view"] = [f"s{int(case[1:]) % 2}" for case in frame["exam"]], range(len(frame))
    data = build(tmp_path, frame)
    data.group_by = ["sex"]
    data.prepare()
    assert data.groups is not None and data.groups["sex"].tolist() == [
        f"s{int(case[1:]) % 2}" for case in data.cases["case"]
    ]
    differing = build(tmp_path, frame)
    differing.group_by = ["view"]
    assert [kind for kind, *_ in listed(differing)] == ["view_conflict"] * (len(VIEWS) - 20)


def test_images_that_are_gone_or_broken_cost_their_case_nothing_if_it_has_others(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    gone, broken, only, blank = of(frame, "e2")[0], of(frame, "e5")[1], of(frame, "e3")[0], of(frame, "e8")[0]
    (tmp_path / frame["path"][gone]).unlink()
    for row in (broken, only):
        (tmp_path / frame["path"][row]).write_bytes(b"\x89PNG")
    frame.loc[blank, "path"] = ""
    found = listed(build(tmp_path, frame))
    assert sorted(kind for kind, *_ in found) == ["missing", "missing", "unreadable", "unreadable"]
    told: list[str] = []
    data = build(tmp_path, frame, on_bad="skip")
    data.report = told.append
    data.prepare()
    assert len(data.cases) == 19 and "e3" not in set(data.cases["case"])
    assert data.excluded == {"unreadable": 1}
    lost = [problem for problem in data.problems if "goes on without it" in problem.detail]
    assert sorted(problem.kind for problem in lost) == ["missing", "missing", "unreadable"]
    assert any("37 rows are 20 cases" in text for text in told)
    sizes = {case: len(data.members[slot]) for case, slot in zip(data.cases["case"], data.slots, strict=True)}
    assert (sizes["e2"], sizes["e5"], sizes["e8"]) == (2, 2, 2)


def test_bags_are_put_together_by_the_same_column(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for n in range(40):
        with h5py.File(tmp_path / f"{n}.h5", "w") as file:
            file["features"] = draw.normal(size=(n % 4 + 1, 6)).astype(np.float32)
    rows = {"path": [f"{n}.h5" for n in range(40)], "label": [n // 4 % 2 for n in range(40)]}
    frame = pd.DataFrame(
        rows | {"patient": [f"p{n // 4}" for n in range(40)], "exam": [f"e{n // 2}" for n in range(40)]}
    )
    table = write_table(tmp_path, frame.to_csv(index=False))
    cfg = config("feature_bags", table=table, cache_dir=str(tmp_path / "cache"), columns={"case": "exam"})
    data = BagData(cfg, report=lambda text: None)
    data.prepare()
    assert data.cases["case"].tolist() == [f"e{n}" for n in range(20)]
    assert data.lengths.tolist() == [sum(n % 4 + 1 for n in (2 * case, 2 * case + 1)) for case in range(20)]
    whole = BagData(cfg | {"unit": "patient"}, report=lambda text: None)
    with pytest.raises(DataError, match="duplicate_row"):
        whole.prepare()


def test_volumes_with_several_rows_a_case_are_refused_plainly(tmp_path: Path) -> None:
    nodules(tmp_path, 4)
    table = pd.read_csv(tmp_path / "table.csv").assign(exam=["a", "a", "b", "c"])
    path = write_table(tmp_path, table.to_csv(index=False), "exams.csv")
    cfg = config("volume_table", table=path, cache_dir=str(tmp_path / "cache"), columns={"case": "exam"})
    with pytest.raises(UsageError, match=r"data\.columns\.case=exam: 2 rows .* row 2 \('a'\): only images and bags"):
        VolumeData(cfg, report=lambda text: None).prepare()


def test_a_row_whose_case_is_blank_is_told(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[of(frame, "e2")[0], "exam"] = ""
    data = build(tmp_path, frame)
    data.prepare()
    assert len(data.cases) == 21
    assert [problem.kind for problem in data.problems] == ["blank_case", "together"]


def test_a_file_twice_in_a_case_is_a_duplicate_in_another_case_a_leak(tmp_path: Path, frame: pd.DataFrame) -> None:
    first, again = of(frame, "e2")[:2]
    frame.loc[again, "path"] = frame.loc[first, "path"]
    found = listed(build(tmp_path, frame))
    assert [(kind, where) for kind, where, _ in found] == [("duplicate_row", f"table.csv row {again + 2}")]
    frame.loc[again, "path"] = frame.loc[of(frame, "e5")[0], "path"]  # a prior film, say
    data = build(tmp_path, frame)
    data.prepare()  # a patient of each: they are kept together
    split = data.cases.set_index("case")["split"]
    assert split["e2"] == split["e5"]
    frame["split"] = ["test" if int(case[1:]) in (4, 5, 16, 17) else "train" for case in frame["exam"]]
    assert {kind for kind, *_ in listed(build(tmp_path, frame))} == {"duplicate"}


def test_cases_that_share_an_image_through_others_are_kept_together(tmp_path: Path, frame: pd.DataFrame) -> None:
    """Cases a and b share nothing, but c has an image of each: whichever of the three is elsewhere, it leaks."""
    a, b, c = of(frame, "e2"), of(frame, "e5"), of(frame, "e8")
    frame.loc[c[0], "path"], frame.loc[c[1], "path"] = frame.loc[a[0], "path"], frame.loc[b[0], "path"]
    data = build(tmp_path, frame)
    data.prepare()
    assert data.cases.set_index("case")["split"][["e2", "e5", "e8"]].nunique() == 1


def test_training_takes_whole_cases_evaluation_all_images_in_order(tmp_path: Path, frame: pd.DataFrame) -> None:
    data = build(tmp_path, frame)
    data.prepare()
    seen = 0
    for batch in data.train_dataloader():
        assert batch["x"].shape[1:] == (1, 8, 8) and int(batch["visit"][-1]) + 1 <= 4
        for visit in batch["visit"].unique():
            here = batch["visit"] == visit
            case = int(batch["case"][here].unique())
            members = data.members[data.slots[case]]
            assert batch["instance"][here].tolist() == list(range(len(members)))
            np.testing.assert_array_equal(batch["x"][here].numpy(), data.cache[members])
            assert (batch["y"][here, 0].numpy() == data.targets[case]).all()
            seen += 1
    assert seen == len(data.rows("train"))
    batches = list(data.test_dataloader())
    pairs = [pair for batch in batches for pair in zip(batch["case"].tolist(), batch["instance"].tolist(), strict=True)]
    assert pairs == [(case, n) for case in data.rows("test") for n in range(len(data.members[data.slots[case]]))]
    assert max(len(batch["x"]) for batch in batches) <= 4


def test_few_images_of_a_case_are_drawn_anew_each_epoch(tmp_path: Path, frame: pd.DataFrame) -> None:
    data, told = build(tmp_path, frame, images_per_case=2), []
    data.report = told.append
    data.prepare()
    train = [len(data.members[slot]) for slot in data.slots[data.rows("train")]]
    words = f"4 cases holds 8 images at most, at most 2 of a case (of {train.count(3)} cases a part)"
    assert words in " ".join(told) and "up to 3 a case" in " ".join(told)

    def epoch(number: int) -> dict[int, list[int]]:
        loader = data.train_dataloader()
        loader.batch_sampler.sampler.set_epoch(number)
        drawn: dict[int, list[int]] = {}
        for batch in loader:
            for case, instance in zip(batch["case"].tolist(), batch["instance"].tolist(), strict=True):
                drawn.setdefault(case, []).append(instance)
        return drawn

    first, second = epoch(0), epoch(1)
    assert first == epoch(0) != second
    assert max(map(len, first.values())) == 2 and first.keys() == second.keys()
    assert all(of_case == sorted(of_case) for of_case in first.values())


def test_inputs_are_put_together_by_the_same_column(tmp_path: Path, frame: pd.DataFrame) -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (8, 8), mean=(0.449,), std=(0.226,))
    cfg = config(columns={"case": "exam"}, cache_dir=str(tmp_path / "cache"))
    (tmp_path / frame["path"][of(frame, "e2")[0]]).write_bytes(b"\x89PNG")
    frame.loc[of(frame, "e5")[0], "patient"] = "another"
    table = write_table(tmp_path, frame.drop(columns="label").to_csv(index=False))
    told: list[str] = []
    data = ImageData.for_inputs(cfg, spec, table, report=told.append)
    assert len(data.cases) == 20
    assert {data.cases["case"][n]: why.partition(" ")[0] for n, why in data.errors.items()}.keys() == {"e2", "e5"}
    skipping = ImageData.for_inputs(cfg | {"on_bad": "skip"}, spec, table, report=told.append)
    assert [skipping.cases["case"][n] for n in skipping.errors] == ["e5"] and "goes on without it" in "".join(told)
    batch = torch.cat([batch["case"] for batch in skipping.predict_dataloader()])
    assert batch.bincount().tolist() == [
        0 if case == "e5" else len(of(frame, case)) - (case == "e2") for case in skipping.cases["case"]
    ]
    told.clear()
    folder = ImageData.for_inputs(cfg, spec, tmp_path, report=told.append)
    assert len(folder.cases) == len(VIEWS) and "a case each" in "".join(told)


def test_images_of_a_case_make_one_picture(tmp_path: Path, frame: pd.DataFrame) -> None:
    data = build(tmp_path, frame)
    data.prepare()
    three = data.pixels(["e2"])[0]
    images = data.cache[of(frame, "e2")]
    np.testing.assert_array_equal(three[:, :4, 4:], images[1][:, ::2, ::2])
    assert (three[:, 4:, 4:] == 0).all()
    np.testing.assert_array_equal(data.pixels(["e0"])[0], data.cache[of(frame, "e0")][0])
    assert mosaic(images[:1]) is not None


def test_inspect_looks_at_every_image_and_counts_them(tmp_path: Path, frame: pd.DataFrame) -> None:
    black = of(frame, "e2")[1]
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(tmp_path / frame["path"][black])
    outcome = inspect(build(tmp_path, frame))
    assert outcome.images["measured"] == len(VIEWS) and outcome.images["images_per_case"] == {"1": 7, "2": 7, "3": 6}
    odd = [finding for finding in outcome.findings if finding.problem.kind == "constant"]
    place = list(dict.fromkeys(frame["exam"])).index("e2")
    assert [finding.rows for finding in odd] == [(place,)] and f"row {black + 2}" in odd[0].problem.where

"""Detection data from files to batches: boxes where the pixels are, splits by patient, nothing lost without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.data.base import Fixed
from medtrain.data.batches.boxes import BoxData
from medtrain.sampler import Negatives
from medtrain.target import DataSpec
from tests import dicom_files
from tests.data.boxes import forty, make_coco, option
from tests.data.tables import opened

Build = Callable[..., BoxData]


@pytest.fixture
def coco(tmp_path: Path) -> Build:
    """Forty images; keys change the configuration, options go to the module."""
    said: list[str] = []

    def build(images: Any = None, options: dict[str, Any] | None = None, **changes: Any) -> BoxData:
        root = tmp_path / "data"
        if images is not None or not root.exists():
            make_coco(root, forty() if images is None else images)
        cfg = option("coco", root=str(root), cache_dir=str(tmp_path / "cache"), **{"image_size": 64, **changes})
        data: BoxData = opened("coco", cfg, report=said.append, **(options or {}))
        data.said = said  # type: ignore[attr-defined]
        return data

    return build


def change(data: BoxData, edit: Callable[[dict[str, Any]], None]) -> None:
    file = Path(data.cfg["root"]) / "annotations.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def bright_where_boxes_are(batch: dict[str, torch.Tensor]) -> None:
    """Boxes hold the bright pixels of their image, and all of them."""
    for row, x in enumerate(batch["x"].float()):
        mask = torch.zeros(x.shape[-2:], dtype=torch.bool)
        for x0, y0, x1, y1 in batch["boxes"][batch["image"] == row].round().long().tolist():
            assert x[0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > x.max() / 2
            mask[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = True
        assert not mask.any() or x[0][~mask].max() < x.max() / 2


def test_batches_are_packed_and_boxes_lie_on_the_pixels(coco: Build) -> None:
    data = coco()
    data.prepare()
    assert data.spec.target.kind == "boxes" and data.spec.classes == ("mass", "nodule") and data.spec.channels == 1
    assert data.spec.size == (64, 64)
    count = 0
    for split in ("train", "val", "test"):
        for batch in data.eval_dataloader(split):
            assert batch["x"].dtype == torch.uint8 and batch["boxes"].dtype == torch.float32
            assert batch["labels"].dtype == batch["image"].dtype == torch.int64
            assert (batch["image"].diff() >= 0).all() and len(batch["place"]) == len(batch["x"])
            bright_where_boxes_are(batch)
            for row, case in enumerate(batch["case"].tolist()):
                sx, sy, tx, ty = batch["place"][row].tolist()
                mine = batch["boxes"][batch["image"] == row].numpy()
                back = (mine - [tx, ty, tx, ty]) / [sx, sy, sx, sy]
                np.testing.assert_allclose(back, data.truth.boxes_M4[data.truth.of(case)], atol=1e-4)
                np.testing.assert_array_equal(
                    batch["labels"][batch["image"] == row].numpy(), data.truth.label_M[data.truth.of(case)]
                )
                count += len(mine)
    assert count == len(data.truth.boxes_M4) == 30
    widths = {w for w, _ in data.spec.boxes}
    assert widths == {round(12 * 64 / 60, 2), round(6 * 64 / 60, 2)}


def test_splits_are_by_patient_and_images_without_boxes_stay(coco: Build) -> None:
    data = coco()
    data.prepare()
    assert data.cases.groupby("patient")["split"].nunique().max() == 1
    assert (data.targets.sum(1) == 0).sum() == 20
    assert {"train", "val", "test"} == set(data.cases["split"])
    again = coco(options={"seed": 5})
    again.prepare()
    assert again.fingerprints == data.fingerprints
    change(data, lambda content: content["annotations"][0].update(bbox=[10, 6, 13, 10]))
    moved = coco()
    moved.prepare()
    assert moved.fingerprints["split"] == data.fingerprints["split"]
    assert moved.fingerprints["table"] != data.fingerprints["table"]
    assert data.truth.image_id_N.tolist() == [int(n) for n in range(1, 41)]


def test_deep_files_keep_their_depth(tmp_path: Path) -> None:
    make_coco(tmp_path, forty(), deep=True)
    data = opened("coco", option("coco", root=str(tmp_path), cache_dir=str(tmp_path / "c"), image_size=64), report=str)
    data.prepare()
    batch = next(iter(data.train_dataloader()))
    assert batch["x"].dtype == torch.float32 and batch["x"].max() <= 1
    assert len(torch.unique(batch["x"])) > 256 * 4
    bright_where_boxes_are(batch)


def test_dicom_of_a_box_table_keeps_its_depth_and_patients(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    rows = ["patientId,x,y,width,height,Target"]
    for n in range(12):
        pixels = np.full((40, 60), 500, np.uint16) + np.arange(60, dtype=np.uint16) * 17
        pixels[10:20, 10:30] = 4000
        pixels[0, 0] = n  # equal pixels are one picture, whatever their headers say
        dicom_files.write(tmp_path / "images" / f"i{n}.dcm", pixels, PatientID=f"secret{n // 2}")
        rows.append(f"i{n},10,10,20,10,1" if n % 2 else f"i{n},,,,,0")
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    cfg = option("box_table", table=str(tmp_path / "boxes.csv"), root=str(tmp_path / "images"), image_size=64)
    cfg |= {"cache_dir": str(tmp_path / "c"), "columns": cfg["columns"] | {"patient": "none"}}
    data = opened("box_table", cfg, report=str)
    data.prepare()
    assert data.spec.classes == ("lesion",) and len(data.truth.boxes_M4) == 6 and data.cases["patient"].nunique() == 6
    assert not data.cases["patient"].str.contains("secret").any()
    batch = next(iter(data.eval_dataloader("train")))
    assert batch["x"].dtype == torch.float32 and len(torch.unique(batch["x"])) > 50
    bright_where_boxes_are(batch)


def test_tiles_cover_everything_and_show_the_same_boxes(coco: Build) -> None:
    data = coco(image_size=[40, 60], fit="shrink", tile=32, tile_overlap=0.25, tile_whole=False)
    data.prepare()
    assert data.spec.size == (32, 32)
    seen = np.zeros((40, 60), int)
    found: dict[int, set[tuple[float, ...]]] = {}
    for split in ("train", "val", "test"):
        for batch in data.eval_dataloader(split):
            assert batch["x"].shape[-2:] == (32, 32)
            bright_where_boxes_are(batch)
            for row, (case, tile) in enumerate(zip(batch["case"].tolist(), batch["instance"].tolist(), strict=True)):
                sx, sy, tx, ty = batch["place"][row].tolist()
                assert (sx, sy) == (1, 1) and 0 <= tile < 6
                if case == 0:
                    seen[round(-ty) : round(-ty) + 32, round(-tx) : round(-tx) + 32] += 1
                for box in batch["boxes"][batch["image"] == row].numpy() - [tx, ty, tx, ty]:
                    found.setdefault(case, set()).add(tuple(box.tolist()))
    assert seen.min() >= 1
    for case in range(40):
        whole = {tuple(box) for box in data.truth.boxes_M4[data.truth.of(case)].tolist()}
        assert whole <= found.get(case, set())
    assert len(data.labels(data.rows("train"))) == len(data.dataset(data.rows("train"))) == 6 * len(data.rows("train"))
    with pytest.raises(UsageError, match="data.tile=128 is larger than data.image_size"):
        coco(tile=128).prepare()
    with pytest.raises(UsageError, match="data.tile_overlap=1"):
        coco(tile=32, tile_overlap=1).prepare()


def test_the_whole_image_stands_beside_its_tiles_with_boxes_on_the_pixels(coco: Build) -> None:
    data = coco(image_size=[40, 60], fit="shrink", tile=32, tile_overlap=0.25)
    data.prepare()
    rows = data.rows("train")
    samples = data.samples(rows)
    assert len(samples) == 7 * len(rows) and samples.shrunk_S.sum() == len(rows)
    last = np.flatnonzero(samples.shrunk_S).tolist()
    batch = data.dataset(rows).__getitems__(last)
    assert batch["x"].shape == (len(rows), 1, 32, 32) and (batch["instance"] == 6).all()
    assert not batch["x"][:, :, 21:].any() and batch["x"][:, :, 20].any()  # 60 x 40 becomes 32 x 21
    torch.testing.assert_close(batch["place"][0], torch.tensor([32 / 60, 21 / 40, 0, 0]))
    truth = data.truth.select(rows)
    np.testing.assert_allclose(batch["boxes"], truth.boxes_M4 * np.tile([32 / 60, 21 / 40], 2), rtol=1e-5)
    for row, x in enumerate(batch["x"][:, 0].float()):
        for x0, y0, x1, y1 in batch["boxes"][batch["image"] == row].tolist():
            assert x[int((y0 + y1) / 2), int((x0 + x1) / 2)] > x.max() / 2
    single = coco(image_size=32, tile=32)
    single.prepare()
    assert not single.samples(rows).shrunk_S.any()  # one tile is the whole image


def test_boxes_that_no_tile_shows_enough_of_are_told(coco: Build) -> None:
    seen = coco(image_size=[40, 60], fit="shrink", tile=32, tile_overlap=0, tile_whole=False)
    seen.prepare()
    assert not [p for p in seen.problems if p.kind == "unseen_box"]

    def enlarge(content: dict[str, Any]) -> None:
        for entry in content["annotations"][:3]:
            entry.update(bbox=[0, 0, 60, 40], area=2400)

    change(seen, enlarge)
    cut = coco(image_size=[40, 60], fit="shrink", tile=16, tile_whole=False)
    cut.prepare()
    (problem,) = [p for p in cut.problems if p.kind == "unseen_box"]
    assert "3 of " in problem.detail and "data.tile_whole=true" in problem.detail and problem.severity == "warning"
    assert any("no tile shows data.min_visible=0.3" in text for text in cut.said)
    whole = coco(image_size=[40, 60], fit="shrink", tile=16)
    whole.prepare()
    assert not [p for p in whole.problems if p.kind == "unseen_box"]


def test_a_share_of_negatives_goes_by_tiles_too(coco: Build) -> None:
    def sampler(**given: Any) -> Negatives:
        return Negatives(**given, negatives=0.5)

    data = coco(image_size=[40, 60], fit="shrink", tile=32, options={"build_sampler": sampler})
    for batch in data.train_dataloader():
        assert len(torch.unique(batch["image"])) == 2
        assert batch["draw"].shape == batch["case"].shape


def test_problems_are_listed_at_once_and_nothing_else_is_lost(coco: Build) -> None:
    data = coco()

    def spoil(content: dict[str, Any]) -> None:
        content["annotations"][0]["category_id"] = 77
        content["annotations"][1]["bbox"] = [5, 5, 0, 9]
        content["annotations"].append({"id": 900, "image_id": 12345, "category_id": 1, "bbox": [1, 1, 2, 2]})
        content["images"].append({"id": 99, "file_name": "gone.png", "patient": "p99"})

    change(data, spoil)
    with pytest.raises(DataError) as caught:
        data.prepare()
    assert sorted(problem.kind for problem in caught.value.problems) == ["bad_label", "missing", "no_image"]
    assert "data.on_bad=skip" in caught.value.advice
    left = coco(on_bad="skip")
    left.prepare()
    assert len(left.cases) == 39 and len(left.truth.boxes_M4) == 28
    assert {p.kind for p in left.problems} == {"bad_label", "missing", "no_image", "duplicate", "zero_area"}
    assert left.excluded == {"bad_label": 1, "missing": 1}


def test_categories_keep_their_ids_under_other_names_and_in_the_model(coco: Build) -> None:
    data = coco(label_map={"nodule": "small"})
    change(data, lambda content: [c.update(id=c["id"] * 10 - 10) for c in content["categories"]])
    change(data, lambda content: [a.update(category_id=a["category_id"] * 10 - 10) for a in content["annotations"]])
    data.prepare()
    assert data.spec.classes == ("mass", "small") and data.truth.category_id_C == (0, 10)
    spec = DataSpec.from_dict(data.spec.to_dict())
    assert spec.target.category_ids == (0, 10)  # type: ignore[attr-defined]
    joined = coco(label_map={"nodule": "mass"})
    joined.prepare()
    assert joined.truth.category_id_C == (0,)


def test_a_zero_area_box_stops_nothing(coco: Build) -> None:
    data = coco()
    change(data, lambda content: content["annotations"][0].update(bbox=[5, 5, 0, 9]))
    data.prepare()
    assert len(data.truth.boxes_M4) == 29 and any("has no area; left out" in line for line in data.said)


def test_classes_are_chosen_renamed_left_out(coco: Build) -> None:
    one = coco(label_map={"mass": "lesion", "nodule": "lesion"})
    one.prepare()
    assert one.spec.classes == ("lesion",) and len(one.truth.boxes_M4) == 30
    masses = coco(label_map={"nodule": None})
    masses.prepare()
    assert masses.spec.classes == ("mass",) and len(masses.truth.boxes_M4) == 20
    turned = coco(classes=["nodule", "mass"])
    turned.prepare()
    assert turned.spec.classes == ("nodule", "mass") and (turned.truth.label_M == 1).sum() == 20
    with pytest.raises(DataError, match="the box's class 'nodule' is none of the classes mass"):
        coco(classes=["mass"]).prepare()
    with pytest.raises(
        UsageError, match="data.label_map: 'nodul' is no class of annotations.json; did you mean 'nodule'"
    ):
        coco(label_map={"nodul": "mass"}).prepare()


def test_other_data_take_the_spec_of_the_model(coco: Build) -> None:
    spec = DataSpec.of("boxes", ("nodule", "mass"), 3, (48, 48), mean=(0.1,) * 3, std=(0.2,) * 3, boxes=((3.0, 4.0),))
    data = coco(options={"fixed": Fixed(spec, all_test=True)}, filter="case.str.startswith('p0')")
    data.prepare()
    assert data.spec == spec and set(data.cases["split"]) == {"test"} and len(data.cases) == 20
    assert next(iter(data.test_dataloader()))["x"].shape == (4, 3, 48, 48)
    assert (data.truth.label_M == 1).sum() == 10


def test_crowds_are_kept_in_the_truth_and_not_learned(coco: Build) -> None:
    data = coco()
    change(data, lambda content: [a.update(iscrowd=1) for a in content["annotations"][:4]])
    data.prepare()
    assert data.truth.crowd_M.sum() == 4 and len(data.truth.boxes_M4) == 30
    batches = [batch for split in ("train", "val", "test") for batch in data.eval_dataloader(split)]
    assert sum(len(b["boxes"]) for b in batches) == 26 and sum(len(b["ignored"]) for b in batches) == 4
    for batch in batches:
        for box, row in zip(batch["ignored"].tolist(), batch["ignored_image"].tolist(), strict=True):
            case = int(batch["case"][row])
            own = data.truth.boxes_M4[data.truth.of(case)][data.truth.crowd_M[data.truth.of(case)]]
            sx, sy, tx, ty = batch["place"][row].tolist()
            assert any(np.allclose(box, placed, atol=1e-3) for placed in own * [sx, sy, sx, sy] + [tx, ty, tx, ty])


def test_inputs_are_placed_and_need_no_boxes(coco: Build, tmp_path: Path) -> None:
    data = coco()
    data.prepare()
    (tmp_path / "data" / "images" / "broken.png").write_bytes(b"no picture")
    inputs = type(data).for_inputs(data.cfg, data.spec, tmp_path / "data" / "images")
    assert len(inputs.cases) == 41 and list(inputs.errors) == [0]
    batch = next(iter(inputs.predict_dataloader()))
    assert set(batch) == {"x", "case", "place"} and batch["case"].tolist() == [1, 2, 3, 4]
    torch.testing.assert_close(batch["place"], torch.from_numpy(inputs.place_N4[1:5]))
    cut = type(data).for_inputs(
        {**data.cfg, "image_size": [64, 96], "tile": 64}, data.spec, tmp_path / "data" / "images"
    )
    assert {"instance", "place"} <= set(next(iter(cut.predict_dataloader())))


def test_official_splits_are_kept_unless_switched_off(test_data: Path, tmp_path: Path) -> None:
    cfg = option("voc", root=str(test_data / "bccd"), image_size=[60, 80], cache_dir=str(tmp_path))
    data = opened("voc", cfg, report=str)
    data.prepare()
    assert data.cases["split"].value_counts().to_dict() == {"train": 205, "val": 87, "test": 72}
    assert len(data.truth.boxes_M4) == 4886 and data.spec.channels == 3  # 4888 but the two of no area
    assert [p.where for p in data.problems if p.kind == "zero_area"] == [
        "BloodImage_00343.xml object 4",
        "BloodImage_00338.xml object 13",
    ]
    own = opened("voc", {**cfg, "columns": {"split": "none"}}, report=str)
    assert own.listed().split is None and data.listed().split is not None

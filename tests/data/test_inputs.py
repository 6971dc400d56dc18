"""What predict reads: files, folders, tables without labels; a bad file costs its own row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.images import ImageData
from medtrain.io.pseudonym import pseudonym
from medtrain.target import DataSpec
from tests.data.tables import config, spoil, write_table
from tests.dicom_files import write

Make = Callable[..., ImageData]


def test_inputs(make: Make, tmp_path: Path) -> None:
    data = make()
    data.prepare()
    spoil(tmp_path)
    cfg, spec = data.cfg | {"patient_pattern": r"\d+"}, data.spec
    folder = ImageData.for_inputs(cfg, spec, tmp_path)
    assert len(folder.cases) == 39 and folder.cases["case"].iloc[:3].tolist() == ["0.png", "1.png", "10.png"]
    assert folder.cases["patient"].iloc[2] == "10"
    bad = folder.cases["case"].tolist().index("3.png")
    assert list(folder.errors) == [bad] and "truncated" in folder.errors[bad]
    batches = list(folder.predict_dataloader())
    assert "y" not in batches[0] and bad not in torch.cat([batch["case"] for batch in batches]).tolist()
    assert sum(len(batch["case"]) for batch in batches) == 38
    one = ImageData.for_inputs(cfg, spec, tmp_path / "7.png")
    assert torch.equal(next(iter(one.predict_dataloader()))["x"][0], data.dataset(np.array([7]))[0]["x"])
    table = write_table(tmp_path, "image,patient\n0.png,a\n5.png,b\n", "inputs.csv")
    listed = ImageData.for_inputs(data.cfg, spec, table)
    assert listed.cases["patient"].tolist() == ["a", "b"] and listed.errors == {1: "no such file"}
    with pytest.raises(UsageError, match="no such file or folder"):
        ImageData.for_inputs(cfg, spec, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        ImageData.for_inputs(cfg, spec, tmp_path / "empty")


def test_a_blank_path_is_not_the_folder_of_the_table(make: Make, tmp_path: Path) -> None:
    data = make()
    data.prepare()
    table = write_table(tmp_path, "image,patient\n0.png,a\n,b\n", "inputs.csv")
    listed = ImageData.for_inputs(data.cfg, data.spec, table)
    assert listed.errors == {1: "the path is blank"} and listed.cases["path"][1] == ""


def test_real_chest_films_to_predict(test_data: Path, tmp_path: Path) -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (32, 32), mean=(0.449,), std=(0.226,))
    films = ImageData.for_inputs(config(cache_dir=str(tmp_path)), spec, test_data / "xray")
    suffixes = [Path(case).suffix for case in films.cases["case"]]
    assert films.errors == {} and suffixes.count(".dcm") == 2 and len(films.cases) >= 6
    named = films.cases["patient"][np.array(suffixes) == ".dcm"]
    assert named.nunique() == 1 and named.str.fullmatch(r"p[0-9a-f]{16}").all()  # both of one person
    x = torch.cat([batch["x"] for batch in films.predict_dataloader()])
    assert x.shape == (len(films.cases), 1, 32, 32) and (x.flatten(1).max(1).values > 100).all()


def test_a_folder_of_everything(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PNG, DICOM with and without suffix, other files, damaged ones, links that go round: a row for each picture."""
    data = make()
    data.prepare()
    mixed = tmp_path / "mixed"
    (mixed / "sub").mkdir(parents=True)
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write(mixed / "a.dcm", pixels, 12, PatientID="42")
    write(mixed / "sub" / "IM0001", pixels, 12, "jpeg_lossless", PatientID="42 ")
    write(mixed / "sub" / "IM0002", pixels, 12, PatientID="")
    write(mixed / "sub" / "cine.dcm", pixels, 12, NumberOfFrames=3, PatientID="43")
    (mixed / "cut.dcm").write_bytes((mixed / "a.dcm").read_bytes()[:-9])
    (mixed / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (mixed / "b.png").write_bytes((tmp_path / "1.png").read_bytes())
    (mixed / "c.png").write_bytes(b"")
    (mixed / "gone.png").symlink_to("nowhere.png")
    (mixed / "self.png").symlink_to("self.png")
    (mixed / "sub" / "round").symlink_to(mixed)
    (mixed / "folder.png").mkdir()
    for other in ("notes.txt", "notes", ".hidden.png"):
        (mixed / other).write_text("no picture")
    found = ImageData.for_inputs(data.cfg, data.spec, mixed)
    errors = {found.cases["case"][row]: why for row, why in found.errors.items()}
    patients = dict(zip(found.cases["case"], found.cases["patient"], strict=True))
    readable = {"a.dcm", "b.png", "sub/IM0001", "sub/IM0002"}
    assert set(patients) == readable | errors.keys()
    assert errors.keys() == {"c.png", "cut.dcm", "gone.png", "self.png", "sub/cine.dcm"}
    assert errors["gone.png"] == "no such file" and "multi-frame DICOM (3 frames)" in errors["sub/cine.dcm"]
    assert errors["cut.dcm"] == "truncated DICOM: 791 bytes of pixels of 800" and "links" in errors["self.png"]
    assert patients["a.dcm"] == patients["sub/IM0001"] == patients["cut.dcm"] == pseudonym("42")
    assert patients["sub/IM0002"] == "sub/IM0002" and patients["b.png"] == "b.png"
    by_name = ImageData.for_inputs(data.cfg | {"patient_pattern": "IM000."}, data.spec, mixed)
    assert dict(zip(by_name.cases["case"], by_name.cases["patient"], strict=True))["sub/IM0001"] == "IM0001"
    table = write_table(mixed, "path\na.dcm\nsub/IM0002\nb.png\n", "inputs.csv")
    listed = ImageData.for_inputs(data.cfg, data.spec, table)
    assert listed.cases["patient"].tolist() == [pseudonym("42"), "sub/IM0002", "b.png"] and listed.errors == {}

"""Training on DICOM files and predicting them; whose pictures they are reaches no file and no screen."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.dicom_files import dataset, write
from tests.integration.conftest import Ran

PERSON = {"PatientName": "Zyxwvu^Quentin", "PatientBirthDate": "19410229", "InstitutionName": "Klinik Xanadu"}
SECRETS = (b"Zyxwvu", b"Quentin", b"19410229", b"Xanadu", b"QID77")  # the last begins every PatientID
QUICK = (
    "model=resnet18 model.stem=standard data.image_size=32 trainer=cpu trainer.max_epochs=1 data.num_workers=0 "
    "eval.bootstrap=20"
)


def films(folder: Path, count: int = 40) -> None:
    """DICOM films of 12 bits, two a patient, whose headers hold what no element may hold, and a table of them."""
    draw = np.random.default_rng(0)
    lines = ["path,label"]
    for n in range(count):
        label = n // 2 % 2
        pixels = (draw.integers(0, 3000, (20, 16)) + 900 * label).astype(np.uint16)
        ds = dataset(pixels, 12, PatientID=f"QID77-{n // 2}", **PERSON)
        ds.add_new("StudyDate", "LO", "19410229 of Zyxwvu")  # pydicom warns, and quotes it
        ds["StudyDate"].VR = "DA"
        ds.add_new("PatientAge", "AS", "QID77 years of age")
        ds.save_as(folder / f"f{n}.dcm")
        lines.append(f"f{n}.dcm,{label}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def leaks(places: list[Path], texts: list[str]) -> list[str]:
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    assert len(files) > 10
    found = [str(file) for file in files if any(secret in file.read_bytes() for secret in SECRETS)]
    return found + [text for text in texts if any(secret.decode() in text for secret in SECRETS)]


def test_identifiers_stay_in_the_files(
    medtrain: Callable[..., Ran], real: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = folder / "films", folder / "out"
    source.mkdir()
    films(source)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("MEDTRAIN_CACHE", str(folder / "cache"))
    monkeypatch.delenv("MEDTRAIN_HASH_KEY")
    train = f"data=image_table data.table={source}/table.csv hydra.run.dir={out}/run {QUICK}".split()
    trained = medtrain(*train)
    assert trained.code == 0, trained.err
    assert "20 patients" in trained.out and "no patient column" not in trained.err
    splits = pd.read_csv(out / "run" / "splits.csv")
    assert splits["patient"].str.fullmatch("p[0-9a-f]{16}").all() and splits["patient"].nunique() == 20
    assert (splits.groupby("patient")["split"].nunique() == 1).all() and (splits.groupby("patient").size() == 2).all()
    key = folder / "config" / "medtrain" / "hash_key"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600

    frames = np.zeros((4, 4), np.uint16)
    write(source / "cine.dcm", frames, 12, NumberOfFrames=9, PatientID="QID77-x", **PERSON)
    write(source / "NaN", frames, 12, RescaleSlope="NaN", RescaleIntercept="0", PatientID="QID77-0", **PERSON)
    content = bytearray((source / "f0.dcm").read_bytes())
    at = content.rindex(b"1.2.840.10008.5.1.4.1.1.1") - 2
    content[at : at + 2] = (300).to_bytes(2, "little")  # a UID's length that takes the name in
    (source / "swallowed.dcm").write_bytes(content)
    predicted = real("predict", f"run={out}/run", f"input={source}", f"output={out}/new.csv")
    assert predicted.code == 1 and "multi-frame DICOM (9 frames)" in predicted.err
    table = pd.read_csv(out / "new.csv", dtype=str, keep_default_na=False).set_index("case")
    assert len(table) == 43 and (table["error"] != "").sum() == 3
    assert (table.loc[list(splits["case"]), "patient"].to_numpy() == splits["patient"].to_numpy()).all()
    assert table.loc["NaN", "patient"] == table.loc["f0.dcm", "patient"]

    said = [text for ran in (trained, predicted) for text in (ran.out, ran.err)]
    assert leaks([out, folder / "cache", folder / "config"], said) == []


def test_real_films(medtrain: Callable[..., Ran], trained: Path, test_data: Path, folder: Path) -> None:
    (folder / "real.csv").write_text("path\n" + "\n".join(str(p) for p in (test_data / "xray").glob("*.dcm")) + "\n")
    ran = medtrain("predict", f"run={trained}", f"input={folder / 'real.csv'}", "output=out.csv")
    assert ran.code == 0, ran.err
    table = pd.read_csv(folder / "out.csv")
    assert len(table) == 2 and table["error"].isna().all() and table["patient"].str.startswith("p").all()
    assert table["prob_1"].nunique() == 2  # one is the negative of the other


def test_init_and_doctor_know_dicom(medtrain: Callable[..., Ran], folder: Path) -> None:
    films(folder, 8)
    ran = medtrain("init", "data.table=table.csv")
    assert ran.code == 0 and "patients from their DICOM headers" in ran.out and "no patient column" not in ran.out
    assert "pydicom 3" in medtrain("doctor").out

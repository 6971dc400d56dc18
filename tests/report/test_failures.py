"""The worst mistakes: the right cases in the right order, as pictures of pixels and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
from fabricate import films, make_run
from PIL import Image

from medtrain.report import write_failures
from medtrain.report.failures import gallery, worst
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.html import draw


def run_of(kind, classes, table):
    text = pd.DataFrame(table).astype(str).replace("", None)
    return RunFolder(path=None, run={"spec": {"label_kind": kind, "classes": classes}}, table=text)


def test_binary_misses_and_false_alarms_take_turns():
    table = {"case": list("abcdef"), "target": list("110010"), "prediction": list("001011"), "prob_0": [0.5] * 6}
    table["prob_1"] = [0.3, 0.1, 0.9, 0.2, 0.8, 0.6]
    found = worst(run_of("binary", ["0", "1"], table), 9)
    assert found["case"].tolist() == [
        "b",
        "c",
        "a",
        "f",
    ]  # missed at 0.1, alarmed at 0.9, missed at 0.3, alarmed at 0.6
    assert found["truth"].tolist() == ["1", "0", "1", "0"] and found["probability"].tolist() == [0.1, 0.9, 0.3, 0.6]
    assert worst(run_of("binary", ["0", "1"], table), 1)["case"].tolist() == ["b"]
    assert worst(run_of("binary", ["0", "1"], table), 0).empty


def test_multiclass_by_the_probability_of_the_truth():
    table = {"case": list("abcd"), "target": ["x", "y", "z", ""], "prediction": ["y", "y", "x", "x"]}
    table |= {"prob_x": [0.2, 0, 0.6, 1], "prob_y": [0.7, 1, 0.3, 0], "prob_z": [0.1, 0, 0.1, 0]}
    found = worst(run_of("multiclass", ["x", "y", "z"], table), 9)
    assert found.to_dict("list") == {
        "case": ["c", "a"], "label": ["z", "x"], "truth": ["z", "x"], "prediction": ["x", "y"],
        "probability": [0.1, 0.2],
    }  # fmt: skip


def test_multilabel_a_case_once_and_unknown_labels_never():
    table = {"case": list("ab"), "target_u": ["1", "0"], "target_v": ["0", ""], "prediction_u": ["0", "0"]}
    table |= {"prediction_v": ["1", "1"], "prob_u": [0.3, 0.1], "prob_v": [0.9, 0.99]}
    found = worst(run_of("multilabel", ["u", "v"], table), 9)
    assert found.values.tolist() == [["a", "v", "absent", "present", 0.9]]


def test_pictures_are_written_shown_and_taken_away(tmp_path):
    folder = make_run(tmp_path / "run", "binary", ["normal", "<i>sick</i>"], n=60)
    write_failures(folder, lambda cases: films(cases).astype(np.uint16) * 257, 3)
    place = folder / "failures"
    listed = pd.read_csv(place / "failures.csv")
    assert sorted(p.name for p in place.glob("*.png")) == listed["picture"].tolist() == ["01.png", "02.png", "03.png"]
    picture = Image.open(place / "02.png")
    assert (np.asarray(picture) == films(listed["case"])[1, 0]).all() and not picture.info
    html = draw(gallery(read_folder(folder)))
    assert html.count("<img") == 3 and "<i>" not in html and "said <b>&lt;i&gt;sick" in html
    assert all(case in html for case in listed["case"])
    write_failures(folder, films, 0)
    assert not place.exists() and draw(gallery(read_folder(folder))) == ""


def test_large_and_coloured_films_are_made_small(tmp_path):
    folder = make_run(tmp_path / "run", "binary", ["0", "1"], n=60)
    write_failures(folder, lambda cases: np.zeros((len(cases), 3, 600, 300), np.uint8), 1)
    assert Image.open(folder / "failures" / "01.png").size == (112, 224)

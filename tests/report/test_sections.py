"""Which sections a page has: those whose forms of predictions the run gives, with the run's own word for its cases."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest
import test_box_report
from fabricate import enrich, make_run

from medtrain.core.errors import MedtrainError
from medtrain.report import write_report
from medtrain.report.checklist import answers
from medtrain.report.counts import by_class, counted, unit
from medtrain.report.flow import flow
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.html import draw
from medtrain.report.page import SECTIONS, page
from medtrain.report.views import Note, part, section
from medtrain.target.base import Form


def links(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    listed = re.findall(r'<a href="#([a-z]+)">', text)
    assert listed == [name for name in re.findall(r'<(?:section|details) id="([a-z]+)"', text) if name in listed]
    return listed


def test_sections_are_those_of_the_forms(tmp_path):
    rich = enrich(make_run(tmp_path / "run", "multiclass", ["a", "b", "c"], n=80))
    assert links(rich) == [
        "data",
        "metrics",
        "figures",
        "explorer",
        "patients",
        "groups",
        "failures",
        "run",
        "checklist",
    ]
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    test_box_report.run_folder(boxes)
    assert links(boxes) == ["data", "metrics", "figures", "checklist"]
    assert 'id="pictures"' not in (boxes / "report.html").read_text()  # none were written


def test_a_page_draws_the_sections_that_it_is_given(tmp_path):
    @section(forms={"boxes"})
    def of_boxes(run):
        raise AssertionError("the run has no boxes")

    @section(forms={"labels"})
    def mine(run):
        return part("mine", "Mine & yours", Note(str(run.path.name)))

    folder = make_run(tmp_path / "run", "binary", ["0", "1"], n=60)
    text = draw(page(read_folder(folder), (of_boxes, mine)))
    assert '<a href="#mine">Mine &amp; yours</a>' in text and text.count("<section") == 1
    assert all(drawer.forms <= set(get_args(Form)) for drawer in SECTIONS)


def test_cases_are_called_what_they_are(tmp_path):
    folder = enrich(make_run(tmp_path / "run", "multilabel", ["u", "v"], n=80))
    run = json.loads((folder / "run.json").read_text())
    for word, title in (("slides", "Slides"), (None, "Cases")):
        (folder / "run.json").write_text(json.dumps(run | {"unit": word}))
        read = read_folder(folder)
        text = draw(flow(read)) + str(by_class(read)) + str(answers(read))
        assert f"test: 80 {title.lower()}" in text and f"test 80 {title.lower()} (" in text
        assert f"{title} (patients) of" in text and "80 images" not in text
    assert counted(RunFolder(path=tmp_path, run={"unit": "volumes"}), 1) == "1 volume"
    further = RunFolder(path=tmp_path, above=RunFolder(path=tmp_path, run={"unit": "bags"}))
    assert unit(further) == "bags"


def test_labels_of_a_kind_that_nobody_knows_say_so(tmp_path):
    folder = make_run(tmp_path / "run", "binary", ["0", "1"], n=60)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"spec": {"label_kind": "riddle", "classes": ["0", "1"]}}))
    with pytest.raises(MedtrainError, match=r"run\.json: spec\.label_kind=riddle is unknown; there are binary, "):
        write_report(folder)

"""Flow, subgroups, checklist: what each says, from folders that know much, little or nothing."""

from __future__ import annotations

import json
import re

import pytest
from fabricate import enrich, make_run

from medtrain.report.checklist import ITEMS, TO_FILL, answers, checklist
from medtrain.report.counts import by_class
from medtrain.report.flow import flow
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.groups import groups
from medtrain.report.html import draw


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    return enrich(make_run(tmp_path_factory.mktemp("rich") / "run", "multilabel", ["u & v", "w"], n=80))


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def numbers(text):
    return {part.strip() for part in text.split(",") if part.strip()}


def test_the_flow_adds_up(rich):
    told = words(draw(flow(read_folder(rich))))
    # 80 test, 300 train, 100 val; 31 + 4 + 2 left out
    assert "In the data: 517 images" in told and "Left out: 37 images" in told and "Used: 480 images" in told
    assert "31 not selected by data.filter 4 unreadable 2 in two splits" in told
    assert "test: 80 images 40 patients judges the result" in told


def test_the_flow_of_an_older_run_claims_nothing_of_exclusions(tmp_path):
    folder = make_run(tmp_path / "run", "binary", ["0", "1"], n=60)
    told = words(draw(flow(read_folder(folder))))
    assert "Used: 460 images" in told and "eft out" not in told
    run = json.loads((folder / "run.json").read_text()) | {"excluded": {}}
    (folder / "run.json").write_text(json.dumps(run))
    assert "Nothing was left out." in words(draw(flow(read_folder(folder))))


def test_an_external_test_says_what_the_model_was_trained_on(rich):
    further = rich / "test_other"
    further.mkdir()
    (further / "test_metrics.json").write_bytes((rich / "test_metrics.json").read_bytes())
    own = {"data": "other", "fingerprints": {"table": "x", "split": "y"}, "excluded": {}}
    (further / "run.json").write_text(json.dumps(own))
    (further / "splits.csv").write_text("case,patient,split,fold\na,p,test,\nb,q,test,\n")
    run = read_folder(further)
    told = words(draw(flow(run)))
    assert "trained on other data: phantom_xray" in told and "train 300 images of 100 patients" in told
    assert "Used: 2 images 2 patients other" in told
    found = {item.claim: answer for item, answer in answers(run)}
    assert found["33"] == "data=other, with the decision of the training run" and found["32"] is None


def test_classes_by_split(rich):
    assert by_class(read_folder(rich))[1] == [(name, ["90 (40)"] * 3) for name in ("u & v", "w")]


def test_subgroups_on_one_scale(rich):
    html = draw(groups(read_folder(rich)))
    told = words(html)
    assert "south &amp; west 70 33 0.710 0.620 to 0.800" in told and "not given 70 33 n/a" in told
    assert "site: north 21 21" in told
    # 0.71 on the scale 0.60 to 1.00 or wider: between its interval's ends, left of 0.86
    at = [float(x) for x in re.findall(r'class="dot" d="M([\d.]+)', html)]
    ends = [tuple(map(float, pair)) for pair in re.findall(r'class="range" d="M([\d.]+) 5H([\d.]+)', html)]
    assert len(at) == 4 and at[1] < at[0] and all(0 <= a < x < b <= 100 for x, (a, b) in zip(at, ends, strict=True))


def test_the_checklist_holds_every_item_of_both_lists():
    assert set().union(*(numbers(item.claim) for item in ITEMS)) == {str(n) for n in range(1, 45)}
    split = {
        3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc",
    }  # fmt: skip
    wanted = {f"{n}{letter}" for n in range(1, 28) for letter in split.get(n, [""])}
    assert set().union(*(numbers(item.tripod) for item in ITEMS)) == wanted


def test_the_checklist_says_what_the_run_knows_and_no_more(rich):
    run = read_folder(rich)
    found = {item.name: answer for item, answer in answers(run)}
    assert found["Who was eligible; what was left out"].startswith("31 not selected by data.filter; 4 unreadable")
    assert found["Level at which partitions are disjoint"] == "by patient: no patient stands in two splits"
    assert found["Fairness"] == "subgroups: site (2 groups), sex (3 groups)"
    assert "test 80 images (40 patients)" in found["Partitions and their sizes"]
    assert found["Ethical approval"] is None and found["Funding"] is None
    html = draw(checklist(run))
    assert html.count(TO_FILL) == sum(answer is None for answer in found.values()) > 20


def test_nothing_is_known_of_an_empty_run(tmp_path):
    run = RunFolder(path=tmp_path, run={"status": "failed"})
    assert draw(flow(run)) == draw(groups(run)) == ""
    assert {answer for _, answer in answers(run)} == {None}

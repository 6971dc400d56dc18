"""Flow, subgroups, checklist: what each says, from folders that know much, little or nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fabricate import enrich, make_run

from medtrain.report import plots
from medtrain.report.checklist import ITEMS, TO_FILL, answers, checklist, filled
from medtrain.report.checklist_facts import Facts
from medtrain.report.counts import by_class
from medtrain.report.facts import facts
from medtrain.report.flow import flow
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.groups import groups
from medtrain.report.html import draw
from medtrain.report.patients import patients


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


def test_differences_between_groups_and_their_corrected_p(rich):
    told = words(draw(groups(read_folder(rich))))
    assert "site: south &amp; west less north AUROC -0.150 -0.210 to -0.090 0.020" in told
    assert "undefined in one" in told


def test_patients_stand_beside_cases(rich):
    run = read_folder(rich)
    told = words(draw(patients(run)))
    auroc = f"{run.test['metrics']['auroc']['value']:.3f}"
    assert f"AUROC 0.900 0.840 to 0.960 {auroc}" in told and "80 patients: the highest probability of any" in told
    assert "3 patients with cases of several classes" in told
    del run.test["patients"]
    assert draw(patients(run)) == ""


def test_curves_of_calibration_and_of_net_benefit(tmp_path):
    for kind, classes in (("binary", ["well", "sick"]), ("multilabel", ["u", "v"]), ("multiclass", ["a", "b", "c"])):
        run = read_folder(make_run(tmp_path / kind, kind, classes))
        drawn = plots.draw(run, tmp_path / kind / "plots", [])
        assert {"calibration_curve", "decision_curve"} <= set(drawn)
        run.test["utility"], run.test["calibration"] = None, {"smooth": {"sick": {"reason": "too few"}}}
        assert not {"calibration_curve", "decision_curve"} & set(plots.draw(run, tmp_path / "none", []))


def test_the_checklist_holds_every_item_of_both_lists():
    assert set().union(*(numbers(item.claim) for item in ITEMS)) == {str(n) for n in range(1, 45)}
    split = {
        3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc",
    }  # fmt: skip
    wanted = {f"{n}{letter}" for n in range(1, 28) for letter in split.get(n, [""])}
    assert set().union(*(numbers(item.tripod) for item in ITEMS)) == wanted


def by_number(run, whole=True):
    """{number of either list: the answer}, "C" before those of CLAIM; with `whole` only of items that are filled."""
    return {
        f"{prefix}{number}": answer if not whole or filled(item, answer) else None
        for item, answer in answers(run)
        for prefix, told in (("C", item.claim), ("", item.tripod))
        for number in numbers(told)
    }


def test_the_checklist_says_what_the_run_knows_and_no_more(rich):
    run = read_folder(rich)
    known, part = by_number(run), by_number(run, whole=False)
    assert part["C8"].startswith("31 not selected by data.filter; 4 unreadable") and known["C8"] is None
    assert known["C20"] == "by patient: no patient stands in two splits"
    assert part["14"] == "subgroups: site (2 groups), sex (3 groups)" and known["14"] is None
    assert "test 80 images (40 patients)" in known["12a"] and known["C19"] == known["12a"]
    html = draw(checklist(run))
    listed = answers(run)
    assert html.count(TO_FILL) == sum(not filled(*pair) for pair in listed) > 40
    assert f"{sum(filled(*pair) for pair in listed)} of {len(ITEMS)} items filled" in html
    assert "author to fill: what was done beyond looking" in html


def test_what_a_run_cannot_know_is_not_filled(rich):
    """Reference standard, outcome, definition of predictors, their distributions, availability, funding, conflicts."""
    part = by_number(read_folder(rich), whole=False)
    for number in ("C14", "8a", "9b", "20c", "C43", "18e", "18f", "C44", "18a", "18b", "16", "10", "C21", "17"):
        assert part[number] is None, number
    funding = next(item for item in ITEMS if item.claim == "44")
    assert funding.tripod == "18a" and "Funding" in funding.name  # conflicts of interest are TRIPOD+AI's alone
    assert {item.tripod for item in ITEMS if "12c" in item.tripod} == {"12c"}


def test_measures_name_the_curves_of_use_and_training_its_augmentation(tmp_path):
    folder = make_run(tmp_path / "binary", "binary", ["well", "sick"])
    run = read_folder(folder)
    part, known = by_number(run, whole=False), by_number(run)
    for name in ("reliability diagram", "smooth calibration curve", "net benefit (decision curve)"):
        assert name in part["12e"]
    assert known["12e"] is None and known["C37"] is None and known["22"] is None  # the rationale, the rest, the access
    run.test["utility"], run.test["calibration"] = None, {}
    assert "net benefit" not in by_number(run, whole=False)["12e"]
    facts = Facts(run)
    facts.config = {"augment": {"_target_": "medtrain.augment.Augment2d", "kind": "image", "rotate": 7.5}}
    assert facts.training() == "augment._target_=medtrain.augment.Augment2d; augment.rotate=7.500"
    run.run["spec"] = run.run["spec"] | {"mean": [0.5], "std": [0.25]}
    assert Facts(run).preparation().endswith("normalised by mean 0.500, std 0.250")
    run.run["spec"] = {"mean": [0.5] * 166, "std": [0.25] * 166}
    assert Facts(run).preparation().endswith("each of 166 features normalised by the mean and SD of the training cases")


def test_events_are_those_of_every_split(rich, tmp_path):
    assert by_number(read_folder(rich))["21"].endswith("u & v: train 90 (40), val 90 (40), test 90 (40); "
        "w: train 90 (40), val 90 (40), test 90 (40)")  # fmt: skip
    run = read_folder(make_run(tmp_path / "binary", "binary", ["well", "sick"]))
    assert by_number(run)["21"] is None  # of train and val nobody has counted them
    row = {"images": 90, "patients": 40, "percent": 30.0}
    run.run["imbalance"] = {split: {"sick": row} for split in ("train", "val", "test")}
    assert by_number(run)["21"].startswith("train 300 images (100 patients), 90 positive (sick); val")


def test_a_cluster_is_a_site(rich):
    run = read_folder(rich)
    assert by_number(run)["12d"] == by_number(run)["23b"] == "by site: see Subgroups"
    del run.test["groups"]["site"]
    assert by_number(run)["12d"] is None


def test_nothing_is_known_of_an_empty_run(tmp_path):
    run = RunFolder(path=tmp_path, run={"status": "failed"})
    assert draw(flow(run)) == draw(groups(run)) == ""
    assert {answer for _, answer in answers(run)} == {None}


def test_the_epoch_that_was_kept_and_what_decided() -> None:
    history = pd.DataFrame(
        {"epoch": [0, 0, 1, 2], "val_auroc": [0.5, np.nan, 1.0, 1.0], "val_loss": [1, np.nan, 0.3, 0.2]}
    )
    best = {"callbacks": {"best": {"monitor": "val_auroc", "mode": "max"}}}

    def kept(epoch: int | None, monitor: str = "val_auroc") -> str | None:
        node = {"callbacks": {"best": best["callbacks"]["best"] | {"monitor": monitor}}}
        run = RunFolder(Path("r"), run={"best_epoch": epoch}, history=history, config=yaml.safe_dump(node))
        return dict(facts(run)).get("Epoch kept")

    tie = "2 epochs are equal in it, of which this one has the lowest val_loss"
    assert kept(2) == f"2, counted from 0, of 3: the highest val_auroc; {tie}"
    assert kept(2, "val_loss") == "2, counted from 0, of 3: the highest val_loss"
    assert kept(None) is None and kept(1, "val_map") == "1, counted from 0"

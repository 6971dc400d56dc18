"""Pictures and figures of a segmentation: who is shown, what is drawn, and limits of agreement by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtrain.explain.contours import Outline, contours_in_planes
from medtrain.report.counts import positives
from medtrain.report.folder import RunFolder
from medtrain.report.mask_pictures import chosen, mask_gallery, write_mask_pictures
from medtrain.report.mask_plots import agreement, dice_by_class, mask_figures, volumes_compared
from medtrain.report.metrics import decision_text

CLASSES = ("core", "edge")


def cases(count: int = 10) -> pd.DataFrame:
    dice = np.linspace(0.1, 1.0, count)
    table = pd.DataFrame({"case": [f"c{n}" for n in range(count)], "dice_core": dice, "dice_edge": dice})
    for n, name in enumerate(CLASSES):
        table[f"volume_ml_{name}"], table[f"true_volume_ml_{name}"] = dice + n, dice
    return table


def drawn(case: str, title: str) -> Any:
    shape = (4, 5, 6)
    return (
        None
        if case == "c9"
        else contours_in_planes(np.zeros(shape), [Outline("a", np.ones(shape, bool))], (1, 1, 1), title)
    )


def test_worst_median_and_best_are_chosen() -> None:
    table = cases()
    table.loc[4, ["dice_core", "dice_edge"]] = np.nan
    shown = chosen(table, CLASSES, 6)
    assert shown["case"].tolist() == ["c0", "c1", "c3", "c5", "c8", "c9"]
    assert shown["why"].tolist() == ["worst"] * 2 + ["median"] * 2 + ["best"] * 2


@pytest.mark.parametrize(("there", "most"), [(1, 9), (2, 9), (4, 4), (5, 3), (7, 6), (3, 0), (0, 6)])
def test_nobody_is_shown_twice(there: int, most: int) -> None:
    shown = chosen(cases(10).head(there), CLASSES, most)
    assert len(shown) == min(there, most) and shown["case"].is_unique


def test_pictures_are_written_and_shown_and_none_of_an_earlier_run_remain(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "99.png").write_bytes(b"")
    write_mask_pictures(tmp_path, cases(), CLASSES, drawn, 6)
    listed = pd.read_csv(tmp_path / "pictures" / "pictures.csv")
    assert listed["case"].tolist() == ["c0", "c1", "c4", "c5", "c8"]  # the files of c9 are gone
    assert sorted(file.name for file in (tmp_path / "pictures").glob("*.png")) == listed["picture"].tolist()
    shown = mask_gallery(
        RunFolder(tmp_path, {"spec": {"label_kind": "mask", "classes": list(CLASSES)}}, pictures=listed)
    )
    assert shown is not None and "sheets.html.j2" in str(shown)  # wide pictures, below each other
    write_mask_pictures(tmp_path, cases(), CLASSES, drawn, 0)
    assert not (tmp_path / "pictures").exists()


def test_limits_of_agreement_are_those_of_bland_and_altman() -> None:
    predicted, true = np.array([1.0, 2.0, 4.0, np.nan]), np.array([1.5, 1.0, 3.0, 5.0])
    mean, low, high = agreement(predicted, true)  # differences -0.5, 1, 1: mean 0.5, deviation 0.866
    assert mean == pytest.approx(0.5) and (low, high) == pytest.approx((0.5 - 1.96 * 0.75**0.5, 0.5 + 1.96 * 0.75**0.5))
    assert all(np.isnan(value) for value in agreement(predicted[:1], true[:1]))


def test_figures_are_drawn_from_the_table_of_predictions(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, {"spec": {"label_kind": "mask", "classes": list(CLASSES)}}, table=cases().astype(str))
    section = mask_figures(run)
    assert section is not None and sorted(f.name for f in (tmp_path / "plots").iterdir()) == ["dice.png", "volumes.png"]
    assert mask_figures(RunFolder(tmp_path, run.run, table=cases()[["case"]])) is None


def test_cases_without_a_value_are_left_out() -> None:
    dice = np.array([[0.5, np.nan], [0.7, np.nan]])
    lines = dice_by_class(dice, ["core", "$ed_ge"]).axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [2, 0]
    figure = volumes_compared(np.ones((3, 1)), np.zeros((3, 1)), ["core"])
    assert len(figure.axes[0].lines) == 4


def test_how_masks_were_decided_is_told_and_nothing_of_a_temperature() -> None:
    entry = {"value": 0.9, "ci95": [0.8, 0.95]}
    test: dict[str, Any] = {
        "decision": {"policy": 0.5, "temperature": 1.0, "thresholds": {}},
        "metrics": {"dice": entry},
        "per_class": {name: {"dice": entry} for name in CLASSES},
        "empty_masks": {name: {"with_mask": 12 + n} for n, name in enumerate(CLASSES)},
        "largest_component": ["edge"],
    }
    run = RunFolder(Path("nowhere"), {"spec": {"label_kind": "mask", "classes": list(CLASSES)}}, test=test)
    said = " ".join(decision_text(run))
    assert "Each voxel has the label" in said and "temperature" not in said
    assert "Of edge only the largest connected component counts." in said
    assert positives(run) == {"core": 12, "edge": 13}

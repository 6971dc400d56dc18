"""What is known of a phantom's cases beside their class: written beside the table, and read by `data.target`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtrain.data.phantom.outcomes import REACH, SCALE, SHAPE, Truth, write_outcomes
from medtrain.data.phantom.volume import make_phantom_volume
from medtrain.metric.concordance import concordance
from medtrain.metric.follow_up import FollowUp
from tests.data.tables import config, opened

PHANTOMS = {
    "phantom_xray": {"patients": 24, "image_size": 16},
    "phantom_volume": {"patients": 20, "patch_size": 8},
}


def written(folder: Path, n: int, seed: int = 0) -> pd.DataFrame:
    """Write the outcomes of `n` cases of even severity; read them."""
    truths = [Truth(10 * k / n, k / n) for k in range(n)]
    write_outcomes(folder, [{"path": str(k)} for k in range(n)], truths, 4, seed)
    return pd.read_csv(folder / "outcomes.csv")


def test_a_grade_is_an_even_step_of_severity(tmp_path: Path) -> None:
    table = written(tmp_path, 40)
    assert table.ordinal.tolist() == [k // 10 for k in range(40)]
    np.testing.assert_allclose(table.value, np.arange(40) / 4)


def test_times_are_of_the_hazard_that_is_written(tmp_path: Path) -> None:
    table = written(tmp_path, 4000)
    assert np.ptp(table.log_hazard) == pytest.approx(REACH, abs=0.01)
    # uncensored cases of middle severity: S(t) = exp(-(t / SCALE)^SHAPE), of which half is left at the median
    until = np.where(table.event == 1, table.time, np.inf)[1800:2200]
    assert np.median(until) == pytest.approx(SCALE * np.log(2) ** (1 / SHAPE), rel=0.12)
    truth = FollowUp(table.time.to_numpy(), table.event.to_numpy() > 0)
    assert concordance(table.log_hazard.to_numpy(), truth).value > 0.7
    assert 0.5 < table.event.mean() < 0.9


def test_another_seed_gives_other_times_and_more_cases_the_same(tmp_path: Path) -> None:
    times = [written(tmp_path, n, seed).time[:10].tolist() for n, seed in ((20, 0), (20, 1))]
    assert times[0] != times[1]


def test_the_diameter_is_that_of_the_table(tmp_path: Path) -> None:
    make_phantom_volume(tmp_path, patients=6, seed=0)
    table, known = pd.read_csv(tmp_path / "table.csv"), pd.read_csv(tmp_path / "outcomes.csv")
    pd.testing.assert_frame_equal(table, known[list(table.columns)])
    np.testing.assert_allclose(known.value, known.diameter_mm, atol=0.051)


@pytest.mark.parametrize("name", PHANTOMS)
@pytest.mark.parametrize("kind", ["value", "ordinal", "event"])
def test_a_named_target_reads_what_is_known(tmp_path: Path, name: str, kind: str) -> None:
    data = opened(name, config(name, target=kind, cache_dir=str(tmp_path), **PHANTOMS[name]))
    data.prepare()
    assert data.spec.target.kind == kind
    assert all(problem.severity == "warning" for problem in data.problems)  # so few cases may lack a grade

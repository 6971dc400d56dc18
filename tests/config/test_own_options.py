"""What a user's own option of data sets stands over what a packaged task leaves to be planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config.compose import compose, resolved


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a CT option that is made of another of theirs."""
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(tmp_path))
    for group in ("data", "experiment"):
        (tmp_path / group).mkdir()
    base = "# base\ndefaults: [volume_table, _self_]\nmemory_gb: 4.0\nspacing: [3.0, 1.0, 1.0]\n"
    (tmp_path / "data" / "base.yaml").write_text(base)
    made = "# scans\ndefaults: [base, _self_]\nspacing: [2.0, 1.0, 1.0]\npatch_size: [8, 16, 16]\ntable: x.csv\n"
    (tmp_path / "data" / "scans.yaml").write_text(made)
    (tmp_path / "experiment" / "fine.yaml").write_text(
        "# @package _global_\n# fine\ndata:\n  spacing: [1.0, 1.0, 1.0]\n"
    )
    return tmp_path


def data(*words: str) -> dict[str, object]:
    return dict(resolved(compose(["task=volume_seg", *words]).cfg).data)


def test_what_an_option_sets_stands_and_the_rest_is_planned(own: Path) -> None:
    node = data("data=scans")
    assert (node["spacing"], node["patch_size"], node["memory_gb"]) == ([2.0, 1.0, 1.0], [8, 16, 16], 4.0)
    assert node["batch_size"] is None and node["label_from"] == "mask"


def test_the_command_line_and_experiments_stand_before_it(own: Path) -> None:
    assert data("data=scans", "data.spacing=5")["spacing"] == 5
    fine = data("data=scans", "experiment=fine")
    assert fine["spacing"] == [1.0, 1.0, 1.0] and fine["patch_size"] == [8, 16, 16]


def test_packaged_options_are_planned(own: Path) -> None:
    node = data("data=volume_table", "data.table=x.csv")
    assert node["patch_size"] is None and node["memory_gb"] == 8.0

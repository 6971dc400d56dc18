"""Splits: by patient, stratified, the same for ever."""

from __future__ import annotations

import time

import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.core.streams import stream
from medtrain.data.leakage import leaked, leaks
from medtrain.data.split import (
    SHARES,
    SITE_COLUMN,
    Way,
    assign_splits,
    check_folds,
    join_groups,
    official_names,
    stratified_groups,
)


def table(rows: int, patients: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    groups = np.array([f"p{n}" for n in draw.integers(0, patients, rows)])
    return (draw.random((rows, classes)) < draw.uniform(0.02, 0.4, classes)).astype(float), groups


def straddles(groups: np.ndarray, part: np.ndarray) -> bool:
    return any(len(set(part[groups == group])) > 1 for group in set(groups))


@pytest.mark.parametrize("classes", [1, 2, 14])
@pytest.mark.parametrize("shares", [SHARES, [1.0] * 5])
def test_patients_stay_together_and_classes_are_balanced(classes: int, shares: list[float]) -> None:
    labels, groups = table(1500, 500, classes)
    part = stratified_groups(labels, groups, shares, 0)
    assert not straddles(groups, part)
    wanted = np.asarray(shares) / np.sum(shares)
    np.testing.assert_allclose(np.bincount(part) / 1500, wanted, atol=0.02)
    for k in range(len(shares)):
        # with eight labels a patient, the frequent ones follow where the rare ones went
        rtol = 0.2 if classes > 2 else 0
        np.testing.assert_allclose(labels[part == k].sum(0), wanted[k] * labels.sum(0), rtol=rtol, atol=3)


def test_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    labels, groups = table(300, 120, 3)
    part = stratified_groups(labels, groups, SHARES, 0)
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(stratified_groups(labels[order], groups[order], SHARES, 0), part[order])
    np.testing.assert_array_equal(stratified_groups(labels, groups, SHARES, 0), part)
    assert (stratified_groups(labels, groups, SHARES, 1) != part).any()


def test_unknown_labels_count_as_absent() -> None:
    labels, groups = table(300, 120, 3)
    unknown = np.where(labels == 0, np.nan, labels)
    np.testing.assert_array_equal(
        stratified_groups(unknown, groups, SHARES, 0), stratified_groups(labels, groups, SHARES, 0)
    )


def test_many_images_a_patient_go_everywhere() -> None:
    labels, groups = table(900, 900, 2)
    groups[:400] = np.repeat([f"q{n}" for n in range(50)], 8)
    part = stratified_groups(labels, groups, SHARES, 0)
    share = [np.char.startswith(groups[part == k], "q").mean() for k in range(3)]
    np.testing.assert_allclose(share, 400 / 900, atol=0.12)


@pytest.mark.parametrize("positives", [3, 4, 6])
def test_a_rare_class_is_in_every_part(positives: int) -> None:
    labels = np.zeros((200, 1))
    labels[:positives] = 1
    part = stratified_groups(labels, np.arange(200), SHARES, 0)
    assert (np.bincount(part[:positives], minlength=3) >= 1).all()


def test_a_large_table_takes_seconds() -> None:
    labels, groups = table(30_000, 10_000, 14)
    began = time.process_time()
    stratified_groups(labels, groups, SHARES, 0)
    assert time.process_time() - began < 10


def as_published(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Algorithm 1 of Sechidis et al. (2011) written down plainly, with the house's ties and rare classes."""
    names, group_N = np.unique(groups, return_inverse=True)
    count = np.zeros((len(names), labels.shape[1]))
    np.add.at(count, group_N, labels)
    size, share = np.bincount(group_N).astype(float), shares / shares.sum()
    need, room = share[:, None] * count.sum(0), share * size.sum()
    part, has = np.full(len(names), -1), np.zeros(need.shape, bool)
    order = stream(seed, "split", len(names)).permutation(len(names))
    left = count.sum(0)
    while (left > 0).any():
        label = np.argmin(np.where(left > 0, left, np.inf))
        todo = [g for g in order if part[g] < 0 and count[g, label] > 0]
        for place, group in enumerate(todo):
            without = [k for k in range(len(share)) if not has[k, label]]
            among = without if without and len(todo) - place <= len(without) else range(len(share))
            part[group] = k = max(among, key=lambda k: (np.round(need[k, label], 6), not has[k, label], room[k]))
            need[k], room[k], left = need[k] - count[group], room[k] - size[group], left - count[group]
            has[k] |= count[group] > 0
        left[label] = 0
    for group in order[part[order] < 0]:
        part[group] = k = int(np.argmax(room))
        room[k] -= size[group]
    return part[group_N]


@pytest.mark.parametrize("seed", range(8))
def test_splits_are_those_of_the_plain_algorithm(seed: int) -> None:
    labels, groups = table(400 + 50 * seed, 60 + 40 * seed, 1 + 2 * seed, seed)
    shares = np.asarray(SHARES if seed % 2 else [1.0] * 5)
    np.testing.assert_array_equal(
        stratified_groups(labels, groups, shares, seed), as_published(labels, groups, shares, seed)
    )


def split(labels: np.ndarray, groups: np.ndarray, **options: object) -> np.ndarray:
    return assign_splits(labels, groups, Way(**options)).split  # type: ignore[arg-type]


def test_folds_test_each_row_once() -> None:
    labels, groups = table(200, 80, 2)
    runs = [assign_splits(labels, groups, Way(folds=4, fold=fold)) for fold in range(4)]
    np.testing.assert_array_equal(sum((run.split == "test").astype(int) for run in runs), 1)
    np.testing.assert_array_equal(sum((run.split == "val").astype(int) for run in runs), 1)
    for fold, run in enumerate(runs):
        assert run.fold is not None and not straddles(groups, run.split)
        np.testing.assert_array_equal(run.split == "test", run.fold == fold)
        np.testing.assert_array_equal(run.split == "val", run.fold == (fold + 1) % 4)


def test_each_fold_but_the_tested_one_can_validate() -> None:
    labels, groups = table(200, 80, 2)
    runs = [assign_splits(labels, groups, Way(folds=4, fold=2, val_after=after)) for after in (1, 2, 3)]
    for run, fold in zip(runs, (3, 0, 1), strict=True):
        assert run.fold is not None and not straddles(groups, run.split)
        np.testing.assert_array_equal(run.split == "test", run.fold == 2)
        np.testing.assert_array_equal(run.split == "val", run.fold == fold)
    column = [str(n % 3 + 1) for n in range(200)]
    chosen = assign_splits(labels, groups, Way(parts_N=column, fold=3, val_after=2))
    np.testing.assert_array_equal(chosen.split == "val", np.array(column) == "2")


def test_a_fold_column_is_meant_by_value_and_sites_by_order() -> None:
    labels, groups = table(120, 120, 2)
    column = [str(n % 3 + 1) for n in range(120)]
    chosen = assign_splits(labels, groups, Way(parts_N=column, fold=3))
    np.testing.assert_array_equal(chosen.split == "test", np.array(column) == "3")
    np.testing.assert_array_equal(chosen.split == "val", np.array(column) == "1")
    assert chosen.fold is not None and chosen.fold.tolist()[:3] == [1, 2, 3]
    sites = [("west", "east", "north")[n % 3] for n in range(120)]
    tested = split(labels, groups, parts_N=sites, parts_name=SITE_COLUMN, fold=0)
    np.testing.assert_array_equal(tested == "test", np.array(sites) == "east")


def test_of_sites_one_is_tested_and_val_is_cut_from_the_others_by_patient() -> None:
    labels, groups = table(600, 200, 2)
    sites = np.array(["west", "east", "north", "south"])[np.unique(groups, return_inverse=True)[1] % 4]
    for fold, site in enumerate(["east", "north", "south", "west"]):
        chosen = assign_splits(labels, groups, Way(parts_N=list(sites), parts_name=SITE_COLUMN, fold=fold))
        np.testing.assert_array_equal(chosen.split == "test", sites == site)
        assert not straddles(groups, chosen.split)
        val, rest = chosen.split == "val", sites != site
        assert val.sum() / rest.sum() == pytest.approx(0.125, abs=0.02) and len(set(sites[val])) == 3
        np.testing.assert_allclose(labels[val].sum(0), 0.125 * labels[rest].sum(0), atol=3)
        assert chosen.fold is not None and (chosen.fold[sites == site] == fold).all()


def test_two_parts_leave_a_val_cut_from_train() -> None:
    labels, groups = table(160, 160, 2)
    sites = ["a", "b"] * 80
    parts = split(labels, groups, parts_N=sites, parts_name=SITE_COLUMN, fold=1)
    assert [(parts == name).sum() for name in ("train", "val", "test")] == [70, 10, 80]


def test_official_splits_are_kept_and_val_is_cut() -> None:
    labels, groups = table(400, 150, 2)
    names, bad = official_names(
        ["Train", "TEST", "valid", " validation", "val", "", "holdout"], [f"row {n}" for n in range(7)]
    )
    assert names.tolist() == ["train", "test", "val", "val", "val", "", ""]
    assert [(n, problem.where) for n, problem in bad] == [(6, "row 6")] and "'holdout'" in bad[0][1].detail
    official = np.where(np.char.endswith(groups, "1"), "test", "train").astype("<U5")
    given = split(labels, groups, official_N=official)
    np.testing.assert_array_equal(given == "test", official == "test")
    assert not straddles(groups, given)
    assert (given == "val").sum() / (official == "train").sum() == pytest.approx(0.125, abs=0.02)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fold": 1}, "needs data.folds=K"),
        ({"folds": 5}, "needs data.fold=0...4"),
        ({"folds": 5, "fold": 5}, "needs data.fold=0...4, not 5"),
        ({"folds": 1, "fold": 0}, "two parts or more"),
        ({"fold": 1, "official_N": np.array(["train"] * 60)}, "data.columns.split=none"),
        ({"folds": 2, "fold": 1, "official_N": np.array(["train"] * 60)}, "data.columns.split=none"),
        ({"fold": 9, "parts_N": ["1", "2"] * 30}, "data.fold=9 is not there.* 1, 2"),
        ({"parts_N": ["b", "a"] * 30, "parts_name": SITE_COLUMN}, r"data.fold is missing.*0 \(a\), 1 \(b\)"),
        ({"fold": 2, "parts_N": ["b", "a"] * 30, "parts_name": SITE_COLUMN}, r"data.fold=2 is not.*0 \(a\), 1 \(b\)"),
        ({"fold": 0, "parts_N": ["a"] * 60, "parts_name": SITE_COLUMN}, r"site column has only one part \(0 \(a\)\)"),
        ({"fold": 0, "folds": 3, "parts_N": ["0", "1"] * 30}, "has 2 parts"),
        ({"fold": 0, "parts_N": ["0"] * 60}, "only one part"),
        ({"val_after": 1}, "needs data.folds or a fold column"),
        ({"val_after": 1, "official_N": np.array(["train"] * 60)}, "needs data.folds or a fold column"),
        ({"val_after": 1, "fold": 0, "parts_N": ["a", "b"] * 30, "parts_name": SITE_COLUMN}, "a fold column"),
        ({"val_after": 3, "fold": 0, "folds": 3}, r"of 3 folds it can be 1\.\.\.2"),
        ({"val_after": 0, "fold": 0, "folds": 3}, r"of 3 folds it can be 1\.\.\.2"),
        ({"val_after": 1, "fold": 0, "folds": 2}, "from 3 folds on"),
        ({"val_after": 3, "fold": 0, "parts_N": ["0", "1", "2"] * 20}, r"of 3 folds it can be 1\.\.\.2"),
    ],
)
def test_refusals(options: dict[str, object], text: str) -> None:
    labels, groups = table(60, 40, 2)
    with pytest.raises(UsageError, match=text):
        split(labels, groups, **options)


def test_an_empty_split_is_named() -> None:
    with pytest.raises(DataError, match=r"no cases for val and test.*2 rows of 1 patient "):
        split(np.eye(2), np.array(["p", "p"]))
    with pytest.raises(DataError, match="no cases for test in the table's split column"):
        split(np.eye(2)[np.arange(20) % 2], np.arange(20).astype(str), official_N=np.array(["train"] * 20))


def test_equal_files_join_their_patients() -> None:
    joined = join_groups(["a", "b", "c", "d", "b", "e"], [0, 1, 1, 2, 3, 3])
    assert joined.tolist() == ["a", "b", "b", "d", "b", "b"]


def test_leaks_and_what_drop_takes_out() -> None:
    patient = np.array(["p", "p", "q", "r", "s", "t", "t"])
    content = np.array([0, 1, 2, 2, 3, 4, 5])
    parts = np.array(["train", "test", "train", "val", "train", "val", "test"])
    where = [f"row {n + 2}" for n in range(7)]
    found = leaks(patient, content, parts, where)
    assert [problem.kind for problem in found] == ["patient_leak", "patient_leak", "duplicate"]
    assert "patient p" in str(found[0]) and "row 4" in str(found[2]) and "row 5 (val)" in str(found[2])
    out = leaked(patient, content, parts)
    assert np.flatnonzero(out).tolist() == [0, 2, 5]
    assert not leaks(patient[~out], content[~out], parts[~out], where)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_case_is_tested_once_and_never_while_it_chooses(folds: int) -> None:
    labels, groups = table(400, 150, 3)
    runs = [assign_splits(labels, groups, Way(folds=folds, fold=k, seed=4)) for k in range(folds)]
    tested = np.stack([run.split == "test" for run in runs])
    assert (tested.sum(0) == 1).all()
    for k, run in enumerate(runs):
        np.testing.assert_array_equal(run.fold, runs[0].fold)
        assert (run.fold[run.split == "test"] == k).all() and not straddles(groups, run.split)
        assert set(run.split) == {"train", "val", "test"}
    assert folds == 2 or ((np.stack([run.split == "val" for run in runs])).sum(0) == 1).all()


def test_folds_that_can_t_be_chosen_are_found_without_any_data() -> None:
    columns = {"split": None, "fold": None}
    for fine in (
        {},
        {"folds": 5, "fold": 4, "columns": columns},
        {"fold": 3, "columns": columns},  # the table may have a fold column
        {"fold": 1, "split_by": "site", "columns": columns},
        {"folds": 2, "fold": 0, "columns": columns | {"split": "none"}},
    ):
        check_folds(fine)
    for cfg, text in (
        ({"folds": 5, "columns": columns}, "data.folds=5 needs data.fold=0...4"),
        ({"fold": 1}, "data.fold=1 needs data.folds=K, a fold column"),
        ({"fold": 1, "columns": columns | {"fold": "none"}}, "data.fold=1 needs"),
        ({"folds": 5, "fold": 1, "columns": columns | {"split": "set"}}, "override the table's own splits"),
        ({"fold": 1, "columns": columns | {"split": "set"}}, "override the table's own splits"),
    ):
        with pytest.raises(UsageError, match=text):
            check_folds(cfg)

"""Draws with replacement: how often each class, case and patient comes, and that it can be drawn again."""

from collections import Counter

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.sampler import Weighted

NAN = np.nan
LABELS = np.r_[np.zeros(90), np.ones(10)]


def make(labels=LABELS, groups=None, **more):
    return Weighted(labels, groups, **{"batch_size": 8, "seed": 0, **more})


@pytest.mark.parametrize(("power", "share"), [(0.0, 0.1), (0.5, 10**0.5 / (10**0.5 + 90**0.5)), (1.0, 0.5)])
def test_how_often_a_class_comes(power, share):
    sampler = make(power=power, length=20_000)
    assert sampler.probability_N[LABELS == 1].sum() == pytest.approx(share)
    drawn = np.array(list(sampler))[:, 0]
    assert LABELS[drawn].mean() == pytest.approx(share, abs=0.015)
    assert set(drawn) == set(range(100))


def test_several_labels_count_by_the_rarest():
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [NAN, 0], [NAN, NAN], [0, NAN]])
    expected = [1 / 6, 1 / 6, 1 / 3, 1 / 9, 1 / 9, 0, 1 / 9]  # both, one, none: a third each
    np.testing.assert_allclose(make(labels).probability_N, expected)


def test_unknown_labels_are_left_out():
    np.testing.assert_allclose(make(np.array([0, 2, -1, 0])).probability_N, [0.25, 0.5, 0, 0.25])
    np.testing.assert_allclose(make(np.array([0, 1, NAN, 0])).probability_N, [0.25, 0.5, 0, 0.25])


def test_by_patient_each_counts_once_in_a_class():
    labels, groups = np.array([0, 0, 0, 0, 1, 1]), np.array(["a", "a", "a", "b", "c", "a"])
    sampler = make(labels, groups, by_patient=True)
    np.testing.assert_allclose(sampler.probability_N, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])
    assert make(labels, groups).probability_N[3] == pytest.approx(1 / 8)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_draws_of_one_process(world):
    ranks = [make(rank=r, world=world, length=90) for r in range(world)]
    drawn = [list(sampler) for sampler in ranks]
    assert {len(d) for d in drawn} == {len(s) for s in ranks} == {-(-90 // (8 * world)) * 8}
    together = [drawn[i % world][i // world] for i in range(world * len(drawn[0]))]
    assert together == list(make(length=96))
    assert len(set(together)) == len(together)  # a repeat has another number
    for position, times in Counter(p for p, _ in together).items():
        assert sorted(n for p, n in together if p == position) == list(range(times))


def test_an_epoch_can_be_drawn_again_whatever_came_before():
    went, resumed = make(), make()
    for epoch in range(3):
        went.set_epoch(epoch)
        last = list(went)
    np.random.seed(1)
    resumed.set_epoch(2)
    assert list(resumed) == last != list(make()) and list(make()) != list(make(seed=1))


def test_refusals():
    with pytest.raises(UsageError, match="power"):
        make(power=1.5)
    with pytest.raises(UsageError, match="length"):
        make(length=0)

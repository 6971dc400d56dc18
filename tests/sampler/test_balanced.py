"""Balanced batches: each trap that such samplers fall into has its test."""

from collections import Counter

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.sampler import Balanced

NAN = np.nan
LABELS = np.r_[np.zeros(100), np.ones(7)]  # positions 100 to 106 are positive


def make(labels=LABELS, groups=None, **more):
    return Balanced(labels, groups, **{"batch_size": 8, "seed": 0, **more})


def batches(sampler, size=8):
    pairs = np.array(list(sampler))
    return pairs[:, 0].reshape(-1, size), pairs[:, 1].reshape(-1, size)


def epochs(sampler, n, size=8):
    for epoch in range(n):
        sampler.set_epoch(epoch)
        yield batches(sampler, size)[0]


def test_every_batch_holds_every_class_in_equal_number():
    for drawn in epochs(make(), 5):
        assert (LABELS[drawn].sum(1) == 4).all()


def test_where_classes_do_not_divide_the_batch_they_differ_by_one_and_take_turns():
    labels = np.repeat([0, 1, 2], [50, 9, 3])
    sampler = make(labels, batch_size=8)
    counts = np.stack([(labels[drawn] == c).sum(1) for drawn in epochs(sampler, 3) for c in range(3)])
    assert set(np.unique(counts)) == {2, 3}
    total = Counter(int(c) for drawn in epochs(sampler, 3) for c in labels[drawn].ravel())
    assert max(total.values()) - min(total.values()) <= 1


@pytest.mark.parametrize(("length", "world", "expected"), [(None, 1, 112), (None, 2, 56), (100, 1, 104), (1, 3, 8)])
def test_the_length_is_true(length, world, expected):
    for rank in range(world):
        sampler = make(length=length, rank=rank, world=world)
        assert len(sampler) == len(list(sampler)) == expected


def test_every_majority_image_is_seen_before_any_comes_again():
    drawn = np.concatenate([d.ravel() for d in epochs(make(), 50)])
    majority = drawn[LABELS[drawn] == 0]
    for start in range(0, len(majority) - 100, 100):  # packs of 100, across the ends of epochs (56 a time)
        assert sorted(majority[start : start + 100]) == list(range(100))
    counts = Counter(drawn[LABELS[drawn] == 1].tolist())
    assert set(counts) == set(range(100, 107)) and max(counts.values()) - min(counts.values()) <= 1
    orders = majority[:100].tolist(), majority[100:200].tolist()
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


def test_an_epoch_can_be_drawn_again_whatever_came_before_and_seeds_differ():
    went, resumed, other = make(), make(), make(seed=1)
    all_epochs = [d.tolist() for d in epochs(went, 4)]
    np.random.seed(3)
    for sampler in (resumed, other):
        sampler.set_epoch(3)
    assert batches(resumed)[0].tolist() == all_epochs[3] == batches(resumed)[0].tolist()
    assert batches(other)[0].tolist() != all_epochs[3]
    assert all_epochs[0] != all_epochs[1]


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_draws_of_one_process(world):
    """Each rank's batch is balanced, and no majority image comes again, on any rank, before all have come."""
    ranks = [make(rank=r, world=world) for r in range(world)]
    drawn = [np.concatenate(list(epochs(sampler, 5))) for sampler in ranks]
    assert all((LABELS[d].sum(1) == 4).all() for d in drawn)
    together = np.stack(drawn, 1).ravel()  # step by step, rank by rank
    majority = together[LABELS[together] == 0]
    for start in range(0, len(majority) - 100, 100):
        assert len(set(majority[start : start + 100].tolist())) == 100


def test_draws_number_the_repeats_of_an_epoch_over_all_ranks():
    pairs = [pair for rank in range(2) for pair in make(rank=rank, world=2)]
    assert len(set(pairs)) == len(pairs)
    for position in {position for position, _ in pairs}:
        numbers = sorted(number for p, number in pairs if p == position)
        assert numbers == list(range(len(numbers)))
    assert max(number for _, number in pairs) >= 7  # 56 draws of 7 positives


def test_multilabel_takes_each_label_and_those_without_any_in_turn():
    labels = np.zeros((60, 3))
    labels[:10, 0], labels[8:14, 1], labels[50:, 2], labels[20, :] = 1, 1, NAN, NAN  # label 2 occurs nowhere
    for drawn in epochs(make(labels, batch_size=6), 4, 6):
        assert ((labels[drawn][..., 0] == 1).sum(1) >= 2).all() and ((labels[drawn][..., 1] == 1).sum(1) >= 2).all()
        none = (np.nan_to_num(labels[drawn]) == 0).all(-1).sum(1)
        assert (none == 2).all() and 20 not in drawn  # nothing is known of case 20
    everyone = {int(i) for drawn in epochs(make(labels, batch_size=6), 12, 6) for i in drawn.ravel()}
    assert everyone == set(range(60)) - {20}


def test_multilabel_is_balanced_on_every_rank():
    labels = np.zeros((60, 2))
    labels[:10, 0], labels[8:14, 1] = 1, 1
    for drawn in (d for rank in range(2) for d in epochs(make(labels, batch_size=6, rank=rank, world=2), 4, 6)):
        assert ((labels[drawn] == 1).sum(1) >= 2).all() and ((labels[drawn] == 0).all(-1).sum(1) == 2).all()


def test_by_patient_no_patient_dominates_and_all_images_come():
    labels = np.r_[np.zeros(120), np.ones(6)]
    groups = np.r_[np.zeros(100, int), np.arange(1, 21), np.arange(30, 36)]  # patient 0 has 100 of the 120 images
    sampler = make(labels, groups, by_patient=True, length=128)
    drawn = np.concatenate([d.ravel() for d in epochs(sampler, 40)])
    majority = drawn[labels[drawn] == 0]
    counts = Counter(groups[majority].tolist())
    assert max(counts.values()) - min(counts.values()) <= 1 and len(counts) == 21
    of_first = majority[groups[majority] == 0]
    assert len(set(of_first[:100].tolist())) == 100  # each image once before any comes again
    sampler.set_epoch(39)
    assert batches(sampler)[0].ravel().tolist() == drawn[-128:].tolist()


def test_unknown_labels_are_left_out():
    labels = np.array([0, 1, NAN, 0, 1, NAN])
    assert {p for p, _ in make(labels, batch_size=2, length=50)} == {0, 1, 3, 4}
    assert {p for p, _ in make(np.array([0, 1, -1, 2]), batch_size=3, length=50)} == {0, 1, 3}


def test_refusals():
    with pytest.raises(UsageError, match="batch of 2 can't hold all 3 classes"):
        make(np.array([0, 1, 2]), batch_size=2)
    with pytest.raises(UsageError, match="known label"):
        make(np.full(4, NAN))
    with pytest.raises(UsageError, match="length"):
        make(length=0)
    with pytest.raises(ValueError, match="rank 2"):
        make(rank=2, world=2)

"""Batches of bags: what they hold, how they are cut, and what draws their instances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medtrain.data.batches.packed import CaseBags, Few, OfInstances, PackedBatches, even_cuts
from medtrain.sampler import EvalSampler, Shuffle, Weighted

LENGTHS = np.array([3, 1, 4, 2, 5])


class Small:
    """Bags whose instances tell their bag and number."""

    lengths = LENGTHS

    def instances(self, bag: int) -> np.ndarray:
        return np.array([[bag, n] for n in range(LENGTHS[bag])], np.float32)


def cases(members: list[list[int]], **more) -> CaseBags:  # type: ignore[no-untyped-def]
    return CaseBags(Small(), members, np.arange(len(members)) + 10, torch.arange(len(members)), **more)


def test_a_batch_is_packed() -> None:
    batch = cases([[0], [1], [2]]).__getitems__([2, 0])
    assert batch["x"].tolist() == [[2, 0], [2, 1], [2, 2], [2, 3], [0, 0], [0, 1], [0, 2]]
    assert batch["offsets"].tolist() == [0, 4, 7]
    assert (batch["case"].tolist(), batch["y"].tolist()) == ([12, 10], [2, 0])


def test_several_slides_of_a_patient_are_one_bag() -> None:
    batch = cases([[0, 3], [1]]).__getitems__([0, 1])
    assert batch["offsets"].tolist() == [0, 5, 6]
    assert batch["x"][:5, 0].tolist() == [0, 0, 0, 3, 3]


def test_drawn_instances_depend_on_seed_epoch_case_and_draw_alone() -> None:
    data = cases([[0, 2, 4]], few=Few(6, 1))

    def drawn(draw: int, epoch: int, of: CaseBags = data) -> list[list[float]]:
        return of.__getitems__([(0, draw, epoch)])["x"].tolist()

    assert len(drawn(0, 0)) == len({tuple(row) for row in drawn(0, 0)}) == 6
    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1) != drawn(1, 1)
    assert drawn(0, 0) != drawn(0, 0, cases([[0, 2, 4]], few=Few(6, 2)))
    assert len(data.__getitems__([0])["x"]) == 12  # evaluation takes all


def test_every_instance_comes_as_epochs_go_by() -> None:
    data = cases([[0, 2]], few=Few(2))
    seen = {tuple(row) for epoch in range(40) for row in data.__getitems__([(0, 0, epoch)])["x"].tolist()}
    assert len(seen) == 7


def test_marks_come_with_evaluation_and_are_unknown_where_any_slide_has_none() -> None:
    marks = {0: np.array([0, 1, 0]), 1: np.array([1]), 3: None}
    data = cases([[0], [1, 3]], known=OfInstances(marks.get))
    batch = data.__getitems__([0, 1])
    np.testing.assert_array_equal(batch["tumour"].numpy(), [0, 1, 0, np.nan, np.nan, np.nan])
    assert "tumour" not in data.__getitems__([(0, 0, 0)])


@pytest.mark.parametrize(
    ("lengths", "parts", "expected"),
    [([1, 1, 1, 1], 2, [2]), ([9, 1, 1, 1], 2, [1]), ([1, 1, 1, 9], 2, [3]), ([5, 5], 1, []), ([100, 1, 1], 3, [1, 2])],
)
def test_cuts_by_hand(lengths: list[int], parts: int, expected: list[int]) -> None:
    assert even_cuts(np.array(lengths), parts) == expected


def test_no_part_is_ever_empty_or_more_than_its_share_and_a_bag() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        lengths = draw.integers(1, 1000, draw.integers(1, 30)) ** draw.integers(1, 3)
        parts = int(draw.integers(1, len(lengths) + 1))
        cuts = even_cuts(lengths, parts)
        sums = [part.sum() for part in np.split(lengths, cuts)]
        assert all(len(part) for part in np.split(lengths, cuts))
        assert max(sums) <= lengths.sum() / parts + lengths.max() or len(lengths) == parts


def batches(sampler, training: bool = True, bags: int = 100, instances: int = 400) -> PackedBatches:  # type: ignore[no-untyped-def]
    return PackedBatches(sampler, np.arange(1, 41), bags, instances, training)


def shuffle(rank: int = 0, world: int = 1) -> Shuffle:
    return Shuffle(np.zeros(40), None, batch_size=1, seed=0, rank=rank, world=world)


def test_an_epoch_has_as_many_batches_as_it_says_whatever_the_order() -> None:
    sampler = shuffle()
    packed = batches(sampler)
    assert len(packed) == 3  # 820 instances, 400 a batch
    for epoch in range(20):
        sampler.set_epoch(epoch)
        epochs = list(packed)
        assert len(epochs) == 3
        assert sorted(position for batch in epochs for position, _, _ in batch) == list(range(40))
        assert {number for batch in epochs for _, _, number in batch} == {epoch}


def test_few_bags_a_batch() -> None:
    assert [len(batch) for batch in batches(shuffle(), bags=1)] == [1] * 40


def test_ranks_have_equally_many_batches() -> None:
    assert len({len(batches(shuffle(rank, 3))) for rank in range(3)}) == 1
    assert [len(list(batches(shuffle(rank, 3)))) for rank in range(3)] == [len(batches(shuffle(0, 3)))] * 3


def test_a_later_start_gives_the_rest_of_the_epoch() -> None:
    packed = batches(shuffle())
    whole = list(packed)
    packed.start = 2
    assert list(packed) == whole[2:]
    assert list(packed) == whole


def test_draws_of_samplers_that_repeat_are_kept() -> None:
    sampler = Weighted(np.arange(40) % 2, None, batch_size=4, seed=0, length=80)
    drawn = [each for batch in batches(sampler) for each in batch]
    assert max(draw for _, draw, _ in drawn) > 0
    assert len(set(drawn)) == len(drawn) == 80


def test_evaluation_takes_positions() -> None:
    assert [p for batch in batches(EvalSampler(40), training=False) for p in batch] == list(range(40))

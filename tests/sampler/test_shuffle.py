"""Samplers: everything is seen, ranks share equally, and an epoch can be drawn again."""

from collections import Counter

import numpy as np
import pytest

from medtrain.sampler import EvalSampler, Shuffle


def make(n=11, **kw):
    return Shuffle(np.zeros(n), None, **{"batch_size": 4, "seed": 0, **kw})


def test_every_case_once_an_epoch_in_another_order():
    sampler = make(50)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert list(make(50, seed=1)) != first and all(type(i) is int for i in first)


def test_an_epoch_can_be_drawn_again_whatever_came_before():
    sampler, resumed = make(), make()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        order = list(sampler)
    resumed.set_epoch(3)
    np.random.seed(5)
    assert list(resumed) == order == list(resumed)


@pytest.mark.parametrize("n", [0, 1, 2, 11, 12])
@pytest.mark.parametrize("world", [1, 3, 4])
def test_shards_are_equal_and_together_complete(n, world):
    shards = [make(n, rank=r, world=world) for r in range(world)]
    drawn = [list(s) for s in shards]
    assert {len(d) for d in drawn} == {len(s) for s in shards} == {-(-n // world)}
    counts = Counter(i for d in drawn for i in d)
    assert set(counts) == set(range(n)) and sum(counts.values()) - n < world
    if n % world == 0:
        assert set(counts.values()) <= {1}
    if n:  # padded by the start of the same order
        together = [drawn[i % world][i // world] for i in range(len(drawn[0]) * world)]
        assert together == np.resize(list(make(n)), len(together)).tolist()


@pytest.mark.parametrize("n", [0, 1, 5, 6])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_is_in_order_and_repeats_the_last(n, world):
    samplers = [EvalSampler(n, r, world) for r in range(world)]
    drawn = [list(s) for s in samplers]
    assert {len(d) for d in drawn} == {len(s) for s in samplers} == {-(-n // world)}
    together = [drawn[i % world][i // world] for i in range(len(drawn[0]) * world)]
    assert together == [min(i, n - 1) for i in range(len(together))]


def test_a_rank_outside_the_world_is_refused():
    with pytest.raises(ValueError, match="rank 2"):
        make(rank=2, world=2)
    with pytest.raises(ValueError, match="rank 1"):
        EvalSampler(3, 1, 1)

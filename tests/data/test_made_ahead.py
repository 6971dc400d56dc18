"""Batches that a thread makes ready, and bags that several threads put together: the same ones, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pytest
import torch

from medtrain.data.batches.packed import CaseBags, Few, PackedBatches, joined
from medtrain.data.loading import loader, made_ahead
from medtrain.sampler import Shuffle


class Held:
    """Bags in memory."""

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng(0)
        self.held = [draw.normal(size=(n % 5 + 1, 3)).astype(np.float32) for n in range(number)]
        self.lengths = np.array([len(bag) for bag in self.held])

    def instances(self, bag: int) -> np.ndarray:
        return self.held[bag]


def epochs(ahead: int, threads: int) -> list[list[torch.Tensor]]:
    bags = Held(40)
    cases = CaseBags(bags, [[n] for n in range(40)], np.arange(40), few=Few(3, 1), threads=threads)
    sampler = Shuffle(np.zeros(40), None, batch_size=4, seed=2)
    batches = loader(cases, PackedBatches(sampler, bags.lengths, 4, 100, True), 0, ahead)
    out = []
    for epoch in range(3):
        begun = iter(batches)
        sampler.set_epoch(epoch)  # known before the first batch is asked for, not before
        out.append([batch["x"] for batch in begun])
    return out


def test_a_thread_gives_the_same_batches_each_epoch() -> None:
    plain, ahead = epochs(0, 0), epochs(2, 3)
    assert [len(epoch) for epoch in ahead] == [len(epoch) for epoch in plain]
    for one, other in zip(chain(*plain), chain(*ahead), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(ahead[0][0], ahead[1][0])


def test_an_error_and_an_early_end_leave_no_thread() -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise ValueError("a damaged bag")

    before = threading.active_count()
    with pytest.raises(ValueError, match="a damaged bag"):
        list(made_ahead(broken, 2))
    endless = made_ahead(lambda: iter(int, 1), 2)
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [0, 2, 5])
def test_large_parts_are_put_together_by_threads(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("medtrain.data.batches.packed.LARGE", 0)
    parts = [np.random.default_rng(n).normal(size=(n + 1, 4)).astype(np.float16) for n in range(7)]
    whole = joined([*parts, parts[0].astype(np.float32)], threads)
    np.testing.assert_array_equal(whole, np.concatenate([*parts, parts[0].astype(np.float32)]))
    assert whole.dtype == np.float32

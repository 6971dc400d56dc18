"""Batches that hold every class in equal number, while every case is seen as the epochs go by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, checked
from medtrain.core.streams import stream
from medtrain.sampler.shard import check_rank
from medtrain.sampler.strata import Positions, batches_of, draw_numbers, patients, strata


class Balanced(Sampler[tuple[int, int]]):
    """Sampler that deals the classes out in turn, to batch after batch, rank after rank and epoch after epoch.

    So the classes of a batch differ by one case at most, ranks never share a case of a class that has enough, and where
    an epoch ends the next one goes on: nothing is left over, and nothing but (seed, epoch) need be known to resume.
    A class is a pack of cards that is shuffled anew each time it is used up; a rare one is used up sooner. Several
    labels a case: each label's positive cases are a pack, and the cases of no label are one.

    Args:
        labels: (N,) class numbers or 0/1, negative or NaN where unknown; (N, C) of 0, 1, NaN.
        groups: the patient of each case, or None.
        batch_size: cases a batch and rank; at least one a class.
        seed: of the run.
        rank: 0 .. world - 1.
        world: number of ranks.
        by_patient: the pack holds patients; each time one comes, it is with the next of its cases.
        length: cases an epoch over all ranks, rounded up to whole batches; None: N.

    Yields:
        (position, draw): the number of earlier draws of that position in the epoch, for another augmentation each.

    Raises:
        UsageError: an argument is out of range, no label is known, or a batch is too small to hold all classes.
    """

    @checked("sampler")
    def __init__(
        self,
        labels: Any,
        groups: Any,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        by_patient: bool = False,
        length: Count | None = None,
    ) -> None:
        check_rank(rank, world)
        self.strata = strata(labels)
        if batch_size < len(self.strata):
            raise UsageError(
                f"sampler=balanced: a batch of {batch_size} can't hold all {len(self.strata)} classes: "
                "raise data.batch_size, or take sampler=weighted"
            )
        self.patient_N = patients(groups if by_patient else None, len(labels))
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        self.batch_size, self.batches = batch_size, batches_of(length, len(labels), batch_size, world)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw for; a resumed run that sets its epoch goes on with the same batches."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        drawn = self._epoch()
        numbers = draw_numbers(drawn)
        shape = (self.batches, self.world, self.batch_size)
        own = drawn.reshape(shape)[:, self.rank].ravel(), numbers.reshape(shape)[:, self.rank].ravel()
        yield from zip(own[0].tolist(), own[1].tolist(), strict=True)

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def _epoch(self) -> Positions:
        """Draw the positions of all ranks."""
        total = self.batches * self.world * self.batch_size
        which, turn = self._turns(np.arange(total) + self.epoch * total)
        drawn = np.empty(total, np.int64)
        for s, cases in enumerate(self.strata):
            own = which == s
            drawn[own] = self._deal(turn[own], cases, s)
        return drawn

    def _turns(self, slot: Positions) -> tuple[Positions, Positions]:
        """Split slots of the endless deal: slot k is the (k // S)-th case of class k % S."""
        return slot % len(self.strata), slot // len(self.strata)

    def _deal(self, turn: Positions, cases: Positions, s: int) -> Positions:
        """Deal the cases at these turns, consecutive numbers, of the endless deal of one class."""
        names, patient, count = np.unique(self.patient_N[cases], return_inverse=True, return_counts=True)
        patients_T = _endless(turn, len(names), self.seed, s)
        visit = turn // len(names)
        if len(names) == len(cases):
            return cases[np.argsort(patient)][patients_T]
        of_patient = np.split(cases[np.argsort(patient, kind="stable")], np.cumsum(count)[:-1])
        drawn = np.empty(len(turn), np.int64)
        by_patient = np.argsort(patients_T, kind="stable")
        # one run of turns a patient, whose cases come in an endless deal of their own
        for turns in np.split(by_patient, np.flatnonzero(np.diff(patients_T[by_patient])) + 1):
            p = int(patients_T[turns[0]])
            drawn[turns] = of_patient[p][_endless(visit[turns], count[p], self.seed, s, "patient", p)]
        return drawn


def _endless(turn: Positions, n: int, seed: int, *path: int | str) -> Positions:
    """Deal numbers at these ascending turns, if 0..n-1 are shuffled anew each time that they are used up."""
    out = np.empty(len(turn), np.int64)
    cycle, start = np.unique(turn // n, return_index=True)
    for number, begin, end in zip(cycle.tolist(), start, [*start[1:], len(turn)], strict=True):
        order = stream(seed, "balanced", *path, number).permutation(n)
        out[begin:end] = order[turn[begin:end] % n]
    return out

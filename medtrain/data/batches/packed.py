"""Batches of bags: instances one after the other, about so many a batch, however large single bags are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from medtrain.core.segments import segment_offsets
from medtrain.core.streams import stream
from medtrain.data.loading import LaterBatches

LARGE = 1 << 22  # bytes of a batch from which on threads are worth their start
Batch = dict[str, Any]
Drawn = tuple[int, int, int]  # position, which draw of it in the epoch, epoch


class Bags(Protocol):
    """Hold instances by the number of a bag; see `io.store.features.PackedBags`."""

    @property
    def lengths(self) -> NDArray[np.int64]: ...

    def instances(self, bag: int) -> NDArray[Any]: ...


class PackedBatches(LaterBatches):
    """Make a fixed number of batches an epoch, each with about as many instances as the others.

    The number follows from the mean size of the bags, so it is the same for all epochs and ranks, which schedules and
    distributed training need; the bags of an epoch, in the sampler's order, are cut into so many runs where the running
    sum of instances passes equal shares. A batch holds at most its share and one bag more.

    Args:
        sampler: gives positions, or pairs (position, draw).
        lengths: instances of the bag at each position, as many as training takes of it.
        bags: at most so many bags a batch, on average.
        instances: at most so many instances a batch, on average.
        training: give (position, draw, epoch), by which instances are drawn; else positions.
    """

    def __init__(
        self, sampler: Sampler[Any], lengths: NDArray[np.int64], bags: int, instances: int, training: bool
    ) -> None:
        super().__init__(sampler, bags, drop_last=False)
        self.lengths, self.training = lengths, training
        sized: Any = sampler  # torch's base class has no length, all of ours have
        self.bags = len(sized)
        mean = float(lengths.mean()) if len(lengths) else 0.0
        wanted = max(-(-self.bags // bags), int(np.ceil(self.bags * mean / instances)))
        self.number = min(self.bags, max(wanted, 1))

    def __len__(self) -> int:
        return self.number

    def whole_epoch(self) -> Iterator[list[Any]]:
        drawn: list[Any] = list(self.sampler)
        positions = np.array([_position(case) for case in drawn], np.int64)
        cuts = even_cuts(self.lengths[positions], self.number)
        if self.training:  # the sampler knows the epoch by now
            epoch = int(getattr(self.sampler, "epoch", 0))
            drawn = [(*case, epoch) if isinstance(case, tuple) else (case, 0, epoch) for case in drawn]
        for start, stop in zip([0, *cuts], [*cuts, len(drawn)], strict=True):
            yield drawn[start:stop]


def even_cuts(lengths: NDArray[np.int64], parts: int) -> list[int]:
    """Say where to cut a row of lengths into so many runs of about equal sums, none of them empty."""
    middle = lengths.cumsum() - lengths / 2
    cuts = np.searchsorted(middle, np.arange(1, parts) * lengths.sum() / max(parts, 1)).tolist()
    for k in range(len(cuts)):
        cuts[k] = max(cuts[k], cuts[k - 1] + 1 if k else 1)
    for k in reversed(range(len(cuts))):
        cuts[k] = min(cuts[k], len(lengths) - (len(cuts) - k))
    return [int(cut) for cut in cuts]


class OfInstances(NamedTuple):
    """What is known of instances beyond their features.

    Args:
        inside: gives for the number of a bag which of its instances lie in a known tumour, (N,) of 0, 1; None where
            nobody knows.
        places: gives for the numbers of a case's bags where its instances lie, (N, 2).
    """

    inside: Any = None
    places: Callable[[Sequence[int]], NDArray[np.float32]] | None = None


class Few(NamedTuple):
    """The instances that training takes of a case that has more, drawn anew each epoch.

    Args:
        most: so many; None for all.
        seed: of the run.
    """

    most: int | None = None
    seed: int = 0


ALL = Few()


class CaseBags(Dataset[Batch]):
    """Take cases of one or several bags by position; each fetch is a whole batch.

    Args:
        bags: the instances.
        members: the numbers in `bags` of each case; the slides of a patient make one bag.
        cases: the row number in `cases` of each case.
        y: targets as tensors, a row a case; None without labels.
        few: what training takes of each.
        known: of the instances.
        threads: that read large batches together; 0 reads alone.
    """

    def __init__(
        self,
        bags: Bags,
        members: Sequence[Sequence[int]],
        cases: NDArray[np.int64],
        y: Tensor | None = None,
        *,
        few: Few = ALL,
        known: OfInstances | None = None,
        threads: int = 0,
    ) -> None:
        self.bags, self.members, self.cases, self.y = bags, members, torch.from_numpy(cases), y
        self.few, (self.inside, self.places) = few, known or OfInstances()
        self.threads = threads

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int | Drawn]) -> Batch:
        """Give x (N, ...) of the files' own type, offsets int64 (B+1,), case int64 (B,), y; coords float32 (N, 2).

        Plain positions, of evaluation, also give ``tumour`` float32 (N,), NaN where unknown, if any is known.
        """
        index = [_position(case) for case in positions]
        chosen = [self._chosen(case) for case in positions]
        parts = [self._parts(position, which) for position, which in zip(index, chosen, strict=True)]
        lengths = [sum(map(len, of_case)) for of_case in parts]
        batch: Batch = {
            "x": torch.from_numpy(joined([part for of_case in parts for part in of_case], self.threads)),
            "offsets": segment_offsets(lengths),
            "case": self.cases[index],
        }
        if self.y is not None:
            batch["y"] = self.y[index]
        if self.places is not None:
            coords = [self._placed(position, which) for position, which in zip(index, chosen, strict=True)]
            batch["coords"] = torch.from_numpy(np.concatenate(coords))
        if self.inside is not None and not isinstance(positions[0], tuple):
            marks = [self._marks(position, length) for position, length in zip(index, lengths, strict=True)]
            batch["tumour"] = torch.from_numpy(np.concatenate(marks))
        return batch

    def _chosen(self, drawn: int | Drawn) -> NDArray[np.int64] | None:
        """Choose instances of a case, ascending; None for all."""
        if self.few.most is None or not isinstance(drawn, tuple):
            return None
        position, draw, epoch = drawn
        total = int(self.bags.lengths[list(self.members[position])].sum())
        if total <= self.few.most:
            return None
        random = stream(self.few.seed, "instances", epoch, int(self.cases[position]), draw)
        return np.sort(random.choice(total, self.few.most, replace=False))

    def _parts(self, position: int, which: NDArray[np.int64] | None) -> list[NDArray[Any]]:
        """Read the instances of a case, an array a bag."""
        bags = list(self.members[position])
        if which is None:
            return [self.bags.instances(bag) for bag in bags]
        ends = self.bags.lengths[bags].cumsum()
        cut = np.split(which, np.searchsorted(which, ends[:-1]))
        starts = [0, *ends[:-1].tolist()]
        return [self.bags.instances(bag)[of - start] for bag, of, start in zip(bags, cut, starts, strict=True)]

    def _placed(self, position: int, which: NDArray[np.int64] | None) -> NDArray[np.float32]:
        assert self.places is not None
        coords_N2 = self.places(self.members[position])
        return coords_N2 if which is None else coords_N2[which]

    def _marks(self, position: int, length: int) -> NDArray[np.float32]:
        marks = [self.inside(bag) for bag in self.members[position]]
        if any(of_bag is None for of_bag in marks):
            return np.full(length, np.nan, np.float32)
        return np.concatenate(marks).astype(np.float32)


def joined(parts: Sequence[NDArray[Any]], threads: int) -> NDArray[Any]:
    """Put arrays one after the other as `np.concatenate` does; large ones by several threads.

    What is mapped and not in memory yet is read while it is copied, so threads read at several places at once.
    """
    lengths = [len(part) for part in parts]
    if threads < 2 or len(parts) < 2 or sum(part.nbytes for part in parts) < LARGE:
        return np.concatenate(parts)
    out = np.empty((sum(lengths), *parts[0].shape[1:]), np.result_type(*parts))
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        list(pool.map(np.copyto, np.split(out, np.cumsum(lengths)[:-1]), parts))
    return out


def _position(case: int | tuple[int, ...]) -> int:
    """Take the position of what a sampler, or `PackedBatches`, gives."""
    return case[0] if isinstance(case, tuple) else case

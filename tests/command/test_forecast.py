"""What a few measured batches forecast: laps that are written down here, and sums by hand."""

from __future__ import annotations

import pytest

from medtrain.command.forecast import Forecast, Stopwatch
from medtrain.core.alone import Clock, Span


class Written(Clock):
    """A clock whose laps are given; of the time that a lap waited, others had all."""

    def __init__(self, spans: list[Span]) -> None:
        self.given = spans
        super().__init__()

    def lap(self) -> Span:
        span = self.given.pop(0)
        self.laps.append(span)
        return span

    def share_of_others(self) -> float:
        return 1.0


def watched(spans: list[Span], epochs: int, trained: int, looked: int) -> Stopwatch:
    watch = Stopwatch(Written(spans))
    for _ in range(epochs):
        watch.on_train_epoch_start()
        for _ in range(trained):
            watch.on_train_batch_end()
        watch.on_validation_epoch_start()
        for _ in range(looked):
            watch.on_validation_batch_end()
        watch.on_validation_epoch_end()
    watch.on_fit_end()
    assert not watch.clock.given  # type: ignore[attr-defined]
    return watch


def free(*seconds: float) -> list[Span]:
    return [Span(s, 0.0) for s in seconds]


def test_batches_are_timed_without_the_first_ones_and_without_others() -> None:
    first = free(5.0, 9.0, 4.0, 3.0, 2.0, 0.5, 1.0, 0.1)  # setup; four batches; the break; a look; its end
    second = [*free(0.4, 2.0, 2.0), Span(7.0, 5.0), *free(2.0, 0.5, 1.0, 0.1, 0.6)]
    watch = watched([*first, *second], 2, 4, 1)
    assert watch.usual(watch.trained) == pytest.approx(2.0) and watch.usual(watch.looked) == pytest.approx(1.0)
    assert watch.other() == pytest.approx(0.5 + 0.1 + 0.6)
    whole = 5.0 + 9.0 + 4.0 + 3.0 + 2.0 + 0.5 + 1.0 + 0.1 + 0.4  # up to the start of the second epoch
    assert watch.once() == pytest.approx(whole - 4 * 2.0 - 1.0 - 1.2)
    assert watch.clock.slowed() == pytest.approx((whole + 2 + 2 + 7 + 2 + 0.5 + 1 + 0.1 + 0.6) / (whole + 8 + 2.2))


def test_what_the_first_batch_of_an_epoch_waits_for_data_is_once_an_epoch() -> None:
    first = free(0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    second = free(0.0, 4.0, 1.0, 1.5, 1.0, 0.0, 0.0, 0.0)
    watch = watched([*first, *second], 2, 4, 0)
    assert watch.usual(watch.trained) == pytest.approx((1.0 + 1.5 + 1.0 + 1.5 + 1.0) / 5)
    assert watch.other() == pytest.approx(2.5)


def test_two_looks_of_which_the_second_is_small_count_both() -> None:
    one = free(0.0, 1.0, 0.0, 3.0, 1.0, 0.0)
    watch = watched([*one, *one, *free(0.0)], 2, 1, 2)
    assert watch.usual(watch.looked) == pytest.approx(2.0)


def test_a_training_in_all() -> None:
    expected = Forecast(
        step=0.5, look=0.2, steps=10, looks=3, beside=0.4, once=2.0, start=5.0, test=7.0,
        memory_mb={}, slowed=1.0,
    )  # fmt: skip
    assert expected.epoch == pytest.approx(6.0)
    assert expected.total(4) == pytest.approx(5 + 2 + 24 + 7)

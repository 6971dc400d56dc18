"""Labels of every kind as one column a class."""

import numpy as np
import pytest

from tests.metric.by_kind import target

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "n", "targets", "positive", "negative", "unknown"),
    [
        ("binary", 2, [0.0, 1.0, NAN, 0.0], [2, 1], [1, 2], [1, 1]),
        ("multiclass", 4, [0, 2, 2, -1], [1, 0, 2, 0], [2, 3, 1, 3], [1, 1, 1, 1]),
        ("multilabel", 2, [[1, 0], [1, NAN], [NAN, NAN], [0, 0]], [2, 0], [1, 2], [1, 2]),
    ],
)
def test_counts_by_hand(kind, n, targets, positive, negative, unknown):
    counts = target(kind, n).count(np.array(targets))
    assert counts.positive.tolist() == positive
    assert counts.negative.tolist() == negative
    assert counts.unknown.tolist() == unknown


def test_an_unknown_class_number_is_no_class():
    np.testing.assert_array_equal(target("multiclass", 2).indicators(np.array([1, -1])), [[0, 1], [NAN, NAN]])

"""Which number `data.fold` takes for each part of a table's own column."""

from __future__ import annotations

import pytest

from medtrain.data.split import SITE_COLUMN, numbered_parts


@pytest.mark.parametrize(
    ("parts", "column", "names", "numbers"),
    [
        (["10", "2", "1", "2"], None, ["1", "2", "10"], [1, 2, 10]),  # folds of numbers are meant by value
        (["b", "a", "b"], None, ["a", "b"], [0, 1]),
        (["2", "1"], SITE_COLUMN, ["1", "2"], [0, 1]),  # a site called 2 is the second one
    ],
)
def test_numbers_of_parts(parts: list[str], column: str | None, names: list[str], numbers: list[int]) -> None:
    assert numbered_parts(parts, *([column] if column else [])) == (names, numbers)

"""What is left out of a run, counted by reason; and the pixels of cases by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medtrain.data.base import Fixed
from medtrain.data.batches.images import ImageData
from tests.data.tables import spoil

Make = Callable[..., ImageData]


def test_nothing_left_out(make: Make) -> None:
    data = make()
    data.prepare()
    assert data.excluded == {}


def test_each_row_is_counted_once_under_its_reason(make: Make, tmp_path: Path) -> None:
    make()
    spoil(tmp_path)  # 3.png unreadable, 5.png missing
    labels = ["0", "1"] * 2 + ["0", ""] + ["0", "1"] * 16 + ["", "1"]  # 5.png and 38.png have no label
    policy = {"on_bad": "skip", "leakage": "drop", "filter": "nr < 39"}
    split = ["train"] * 25 + ["val"] * 5 + ["test"] * 10  # 24.png is of a patient in val
    data = make(policy, columns={"label": labels, "split": split, "nr": list(range(40))})
    data.prepare()
    assert data.excluded == {"filtered": 1, "unreadable": 1, "missing": 1, "missing_label": 1, "leaking": 1}
    assert sum(data.excluded.values()) + len(data.cases) == 40
    again = make(
        policy, columns={"label": labels, "split": split, "nr": list(range(40))}, fixed=Fixed(splits=data.cases)
    )
    again.prepare()
    assert again.excluded == {"filtered": 1, "unreadable": 1, "missing": 1, "missing_label": 1, "unlisted": 1}


def test_pixels_by_name(make: Make) -> None:
    data = make({"filter": "patient != 'p0'"})
    data.prepare()
    names = data.cases["case"].tolist()[::-3]
    pixels = data.pixels(names)
    assert pixels.shape == (len(names), 1, 8, 8) and pixels.dtype == np.uint8
    rows = [data.cases["case"].tolist().index(name) for name in names]
    np.testing.assert_array_equal(pixels, data.dataset(np.array(rows)).__getitems__(range(len(rows)))["x"].numpy())

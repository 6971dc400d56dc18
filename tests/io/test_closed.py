"""Files of a closed test split: known, not opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import MedtrainError
from medtrain.io import closed
from medtrain.io.image_form import ImageForm
from medtrain.io.store.pixels import cache_images


def test_a_closed_picture_is_known_and_has_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(tmp_path / f"{n}.png") for n in range(4)]
    for n, name in enumerate(names):
        Image.fromarray(np.full((8, 8), 10 * (n % 3), np.uint8)).save(name)
    with closed.closing():
        whole = cache_images(names, ImageForm((8, 8), 1), tmp_path / "cache")
        closed.settle(tmp_path, ["c"], names[2:], names[:2])
    monkeypatch.setenv(closed.CLOSED, str(tmp_path / closed.FILE))
    for name in names[2:]:
        Path(name).chmod(0)
    with closed.closing():
        same = cache_images(names, ImageForm((8, 8), 1), tmp_path / "cache")
        other = cache_images(names, ImageForm((4, 4), 1), tmp_path / "cache")
        assert same.decoded == 0 and (same[range(4)] == whole[range(4)]).all()
        assert other.decoded == 2 and not other.problems
        assert other.identities == whole.identities and other.content.tolist() == [0, 1, 2, 0]
        assert other[[0, 1]].shape == (2, 1, 4, 4)
        with pytest.raises(MedtrainError, match="closed while a search"):
            other[[1, 2]]
        with pytest.raises(MedtrainError, match="closed while a search"):
            closed.refuse(names[3])
        closed.settle(tmp_path, ["c"], names[2:], names[:2])
        with pytest.raises(MedtrainError, match="c is of the search's test split alone"):
            closed.settle(tmp_path, [], [], names)
    closed.refuse(names[3])

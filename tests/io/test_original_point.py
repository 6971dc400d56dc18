"""A point of a fitted picture, found again in the file: against where the resampling really put it."""

import numpy as np
import pytest

from medtrain.io.image import fit_image, original_point, placement
from medtrain.io.image_form import ImageForm


@pytest.mark.parametrize("fit", ["pad", "shrink", "stretch", "crop"])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (64, 64)])  # the last is enlarged, but for shrink
def test_it_is_the_way_back(fit, shape):
    form = ImageForm((96, 128), fit=fit)
    for at in ((shape[0] // 2, shape[1] // 2), (shape[0] * 2 // 5, shape[1] * 3 // 5)):
        picture = np.zeros(shape, np.uint8)
        picture[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4] = 255
        fitted = fit_image(picture, form.size, 1, fit)[0].astype(float)
        rows, columns = np.indices(fitted.shape)
        middle = [float((axis * fitted).sum() / fitted.sum()) + 0.5 for axis in (rows, columns)]
        assert original_point((middle[0], middle[1]), shape, form) == pytest.approx(at, abs=1.5)


def test_a_point_of_the_padding_goes_to_the_edge():
    form = ImageForm((100, 100))
    assert original_point((50, 2), (200, 100), form)[1] == 0.0
    assert original_point((50, 98), (200, 100), form)[1] == 99.0


@pytest.mark.parametrize("fit", ["pad", "shrink", "stretch", "crop"])
@pytest.mark.parametrize("shape", [(300, 211), (50, 60)])
def test_a_box_is_placed_where_the_pixels_go(fit, shape):
    form, box = ImageForm((96, 128), fit=fit), (90, 120, 140, 160) if shape[0] > 100 else (22, 30, 34, 44)
    picture = np.zeros(shape, np.uint8)
    picture[box[0] : box[2], box[1] : box[3]] = 255
    seen = fit_image(picture, form.size, 1, fit)[0] / 255
    sx, sy, tx, ty = placement(shape, form)
    y0, x0, y1, x1 = (at * scale + shift for at, scale, shift in zip(box, (sy, sx) * 2, (ty, tx) * 2, strict=True))
    assert seen.sum() == pytest.approx((y1 - y0) * (x1 - x0), rel=0.02)
    for axis, low, high in ((1, y0, y1), (0, x0, x1)):
        profile = seen.max(axis)
        middle = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
        assert middle == pytest.approx((low + high) / 2, abs=0.1)


def test_shrink_enlarges_nothing():
    picture = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50
    fitted = fit_image(picture, (50, 60), 1, "shrink", window=(0, 65535))[0]
    np.testing.assert_array_equal(fitted[10:40, 10:50], picture)
    assert fitted.sum() == picture.sum()

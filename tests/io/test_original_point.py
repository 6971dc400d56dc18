"""A point of a fitted picture, found again in the file: against where the resampling really put it."""

import numpy as np
import pytest

from medtrain.io.image import ImageForm, fit_image, original_point


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (64, 64)])
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

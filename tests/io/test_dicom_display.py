"""The grey-scale pipeline against pydicom's, and by hand where that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

from medtrain.io.dicom_display import display_grey
from medtrain.io.image import read_fitted
from medtrain.io.image_form import ImageForm
from tests.dicom_files import dataset, lut, write

PIXELS = (np.arange(-600, 600, dtype=np.int16) * 3).reshape(30, 40)


def reference(pixels: np.ndarray, **elements: Any) -> np.ndarray:
    """pydicom's modality and window, scaled from the range that it puts out to 16 bits."""
    ds = dataset(pixels, 12, **elements)
    ds.preamble = None
    out = apply_windowing(apply_modality_lut(pixels, ds), ds)
    ends = np.array([-2048, 2047]) * float(elements.get("RescaleSlope", 1)) + float(elements.get("RescaleIntercept", 0))
    return np.rint((out - ends[0]) / (ends[1] - ends[0]) * 65535)


def shown(pixels: np.ndarray, bits: int = 12, window: tuple[float, float] | None = None, **elements: Any) -> np.ndarray:
    return display_grey(pixels, dataset(pixels, bits, **elements), window)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [("40", "400"), ("-1000", "1500.5"), (["10", "500"], ["80", "99"])])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": "2.5", "RescaleIntercept": "-1024"}])
def test_windows(function: str | None, center: Any, width: Any, rescale: dict[str, str]) -> None:
    elements = {"WindowCenter": center, "WindowWidth": width, **rescale}
    if function:
        elements["VOILUTFunction"] = function
    out = shown(PIXELS, **elements)
    assert out.dtype == np.uint16
    assert np.abs(out - reference(PIXELS, **elements)).max() <= 1
    inverted = shown(PIXELS, PhotometricInterpretation="MONOCHROME1", **elements).astype(int)
    assert np.abs(inverted - (65535 - out.astype(int))).max() <= 1


def test_a_window_of_one_value() -> None:
    out = shown(PIXELS, WindowCenter="31", WindowWidth="1")
    np.testing.assert_array_equal(out, np.where(PIXELS > 30.5, 65535, 0))


@pytest.mark.parametrize(("center", "width"), [("", ""), ("5", "0"), ("5", "-3"), ("NaN", "10")])
@pytest.mark.filterwarnings("ignore")
def test_windows_that_are_none_leave_the_range_of_the_values(center: str, width: str) -> None:
    out = shown(PIXELS, WindowCenter=center, WindowWidth=width)
    np.testing.assert_array_equal(out, np.rint((PIXELS + 1800) / 3597 * 65535))


def test_own_window_replaces_that_of_the_file() -> None:
    elements = {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": "0", "WindowWidth": "10"}
    out = shown(PIXELS, window=(-300, 500), **elements)
    np.testing.assert_array_equal(out, np.rint(np.clip((PIXELS * 2.0 - 100 + 300) / 800, 0, 1) * 65535))


def test_a_voi_lut_without_a_window() -> None:
    table = (np.sqrt(np.arange(2048)) * 90).astype(np.uint16)
    sequence = lut(table, -500, 12)
    ds = dataset(PIXELS, 12, VOILUTSequence=sequence)
    expected = apply_voi(PIXELS, ds) / 4095 * 65535
    np.testing.assert_array_equal(display_grey(PIXELS, ds, None), np.rint(expected))
    windowed = shown(PIXELS, VOILUTSequence=sequence, WindowCenter="0", WindowWidth="100")
    np.testing.assert_array_equal(windowed, shown(PIXELS, WindowCenter="0", WindowWidth="100"))


def test_a_modality_lut() -> None:
    pixels = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    table = (np.arange(1000) ** 1.5).astype(np.uint16)
    ds = dataset(pixels, 12, ModalityLUTSequence=lut(table, 100, 16))
    values = apply_modality_lut(pixels, ds).astype(float)
    np.testing.assert_array_equal(display_grey(pixels, ds, None), np.rint(values / values.max() * 65535))
    with pytest.raises(ValueError, match="lookup table"):
        shown(pixels, ModalityLUTSequence=lut(table[:0], 100, 16))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_out_of_the_range(photometric: str) -> None:
    pixels = np.clip(PIXELS, -900, 900)
    pixels[:, :5] = -2000
    same = {"PhotometricInterpretation": photometric}
    for value in (-2000, 65536 - 2000):  # as written rightly, and as an unsigned number
        ds = dataset(pixels, 12, **same)
        ds.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        out = display_grey(pixels, ds, None)
        assert (out[:, :5] == 0).all() and (out[:, 5:].min(), out[:, 5:].max()) == (0, 65535)
        np.testing.assert_array_equal(out[:, 5:], shown(pixels[:, 5:].copy(), **same))
    ds.add_new("PixelPaddingRangeLimit", "SS", 1900)
    assert (display_grey(pixels, ds, None) == 0).all()


def test_eight_bits() -> None:
    pixels = np.arange(10, 130, dtype=np.uint8).reshape(12, 10)
    np.testing.assert_array_equal(shown(pixels, 8), pixels)
    np.testing.assert_array_equal(shown(pixels, 8, PresentationLUTShape="INVERSE"), 255 - pixels)
    both = shown(pixels, 8, PresentationLUTShape="INVERSE", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(both, 255 - pixels)  # they say one thing twice
    windowed = shown(pixels, 8, window=(10, 129))
    assert windowed.dtype == np.uint8 and (windowed.min(), windowed.max()) == (0, 255)
    assert shown(pixels, 8, RescaleSlope="10", RescaleIntercept="0").dtype == np.uint16
    assert shown(pixels & 63, 6).max() == 255
    signed = shown((pixels.astype(np.int16) - 70).astype(np.int8), 8)
    assert signed.dtype == np.uint8 and (signed.min(), signed.max()) == (0, 255)


def test_a_flat_picture_is_black() -> None:
    assert (shown(np.full((4, 4), 700, np.uint16)) == 0).all()


def test_the_window_of_a_data_set_reaches_the_file_once(tmp_path: Path) -> None:
    """A window wider than the values stays: the picture isn't stretched again."""
    pixels = np.linspace(1000, 2000, 400).astype(np.uint16).reshape(20, 20)
    path = write(tmp_path / "a.dcm", pixels, 12, RescaleSlope="1", RescaleIntercept="-1000")
    out = read_fitted(path, ImageForm((20, 20), window=(-1000, 3000)))[0]
    np.testing.assert_array_equal(out, np.rint(pixels / 4000 * 65535))
    own = write(tmp_path / "b.dcm", pixels, 12, WindowCenter="2000", WindowWidth="4000", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(read_fitted(own, ImageForm((20, 20)))[0], out)

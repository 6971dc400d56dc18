"""Pictures of every kind come out upright, at one size, with their depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.io.image import fit_image, read_fitted, read_image
from medtrain.io.image_form import ImageForm

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_sixteen_bits_stay(tmp_path: Path) -> None:
    stored = RAMP.astype(np.uint16) * 16 + 3
    read = read_image(saved(tmp_path, Image.fromarray(stored)))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, stored)


def test_twelve_bit_values_fill_the_range() -> None:
    stored = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    out = fit_image(stored, (16, 16))
    assert out.dtype == np.uint16 and out.shape == (1, 16, 16)
    assert (out.min(), out.max()) == (0, 65535)


def test_a_window_is_in_stored_values() -> None:
    stored = np.array([[0, 1000, 2000, 3000]], np.uint16)
    np.testing.assert_array_equal(fit_image(stored, (1, 4), window=(1000, 2000))[0, 0], [0, 0, 65535, 65535])
    np.testing.assert_array_equal(fit_image(RAMP, (8, 8), window=(0, 126))[0, 0, :3], [0, 8, 16])
    assert (fit_image(np.full((4, 4), 7, np.uint16), (4, 4)) == 7).all()  # flat: nothing to stretch


def test_eight_bits_pass_unchanged() -> None:
    np.testing.assert_array_equal(fit_image(RAMP, (8, 8))[0], RAMP)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LA", "RGBA"])
def test_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((5, 7), 255, np.uint8)).convert(mode)
    read = read_image(saved(tmp_path, image, "a.tif" if mode == "CMYK" else "a.png"))
    assert read.dtype == np.uint8 and read.shape[:2] == (5, 7)
    assert (fit_image(read, (5, 7)) == 255).all()
    assert fit_image(read, (5, 7), channels=3).shape == (3, 5, 7)


def test_transparent_is_black(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:2, :, 3] = 0
    read = read_image(saved(tmp_path, Image.fromarray(pixels)))
    assert (read[:2] == 0).all() and (read[2:] == 255).all()


def test_grey_is_luma() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert (fit_image(red, (4, 4)) == round(0.299 * 200)).all()


def test_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    path = saved(tmp_path, Image.new("L", (40, 20)), "a.jpg", exif=exif)
    assert read_image(path).shape == (40, 20)


@pytest.mark.parametrize(("fit", "filled"), [("pad", 50), ("stretch", 100), ("crop", 100)])
def test_fits(fit: str, filled: int) -> None:
    out = fit_image(np.full((20, 40), 255, np.uint8), (10, 10), fit=fit)
    assert out.shape == (1, 10, 10) and (out == 255).sum() == filled
    assert fit_image(np.full((37, 11), 9, np.uint8), (16, 24), fit=fit).shape == (1, 16, 24)


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.ptp(fit_image(stripes, (8, 8))[0, :, 1:-1]) < 12


def test_a_jpeg_at_reduced_scale_looks_the_same(tmp_path: Path) -> None:
    y, x = np.mgrid[:512, :512]
    smooth = (127 + 100 * np.sin(x / 60) * np.cos(y / 45)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(smooth), "a.jpg", quality=95)
    whole = fit_image(read_image(path), (64, 64)).astype(int)
    assert np.abs(read_fitted(path, ImageForm((64, 64))).astype(int) - whole).max() <= 4


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"", "empty file"),
        ("a.png", b"no picture at all", "not a picture"),
        ("a.dcm", b"\0" * 128 + b"DICM", "DICOM"),
        ("a", b"\0" * 128 + b"DICM", "DICOM"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"truncated|damaged|not a picture"):
        read_image(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="folder"):
        read_image(tmp_path)


def test_floating_point_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.zeros((4, 4), np.float32)), "a.tif")
    with pytest.raises(ValueError, match="floating point"):
        read_image(path)


@pytest.mark.parametrize(
    "wrong", [{"channels": 2}, {"fit": "squeeze"}, {"window": (5, 5)}, {"size": (0, 4)}, {"size": (4,)}]
)
def test_impossible_forms(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ImageForm(**{"size": (4, 4), **wrong})  # type: ignore[arg-type]


def test_real_chest_films(test_data: Path) -> None:
    films = [path for path in (test_data / "xray").rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(films) >= 4
    for path in films:
        fitted = read_fitted(path, ImageForm((64, 48), channels=3))
        assert fitted.shape == (3, 64, 48) and fitted.dtype == np.uint8 and np.ptp(fitted) > 100, path

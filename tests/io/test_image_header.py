"""Size, channels and depth of a file, against what is read when it is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.io.image import content_box, fit_image, read_image
from medtrain.io.image_header import Header, read_header, read_headers, remembered_headers
from medtrain.io.stats import stat_files
from tests.dicom_files import dataset

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7)


def test_depth_and_channels(tmp_path: Path) -> None:
    for name, pixels, channels, bits in (
        ("grey.png", GREY, 1, 8),
        ("deep.png", GREY.astype(np.uint16) * 257, 1, 16),
        ("colour.png", np.stack([GREY] * 3, -1), 3, 8),
        ("grey.jpg", GREY, 1, 8),
        ("deep.tif", GREY.astype(np.uint16), 1, 16),
        ("bits.png", GREY > 9, 1, 1),
    ):
        Image.fromarray(pixels).save(tmp_path / name)
        found = read_header(tmp_path / name)
        assert found is not None and found[:3] == ((5, 7), channels, bits), name
        assert found.size == read_image(tmp_path / name).shape[:2]


def test_turned_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=exif)
    found = read_header(tmp_path / "a.jpg")
    assert found is not None and found.size == (7, 5) == read_image(tmp_path / "a.jpg").shape


def test_dicom(tmp_path: Path) -> None:
    dataset(GREY.astype(np.uint16), 12).save_as(tmp_path / "a.dcm")
    dataset(np.stack([GREY] * 3, -1)).save_as(tmp_path / "b")
    assert read_headers([str(tmp_path / name) for name in ("a.dcm", "b")]) == [
        Header((5, 7), 1, 12, "DICOM"),
        Header((5, 7), 3, 8, "DICOM"),
    ]


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM")
    assert read_headers([str(tmp_path / name) for name in ("a.png", "b.dcm", "gone.png")]) == [None] * 3


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("shape", [(20, 40), (41, 13), (16, 16)])
def test_the_box_holds_all_of_the_picture_and_no_padding(fit: str, shape: tuple[int, int]) -> None:
    fitted = fit_image(np.full(shape, 9, np.uint8), (16, 16), fit=fit)[0]
    inside = np.zeros_like(fitted)
    inside[content_box(shape, (16, 16), fit)] = 9
    np.testing.assert_array_equal(fitted, inside)


def test_what_was_read_once_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(tmp_path / name) for name in ("a.png", "b.dcm", "broken.png", "gone.png")]
    Image.fromarray(GREY).save(paths[0])
    dataset(GREY.astype(np.uint16), 12).save_as(paths[1])
    Path(paths[2]).write_bytes(b"nothing")
    first = remembered_headers(paths, stat_files(paths), tmp_path / "cache")
    assert first == read_headers(paths) and first[2:] == [None, None]
    opened: list[str] = []
    monkeypatch.setattr("medtrain.io.image_header.read_headers", lambda some: [opened.append(p) for p in some])
    assert remembered_headers(paths, stat_files(paths), tmp_path / "cache") == first
    assert opened == paths[2:3]  # nothing was found out of it, so it is tried again
    Image.fromarray(GREY[:3]).save(paths[0])
    assert remembered_headers(paths, stat_files(paths), tmp_path / "cache")[0] is None
    assert opened[1:] == [paths[0], paths[2]]

"""Colours of compressed files are those that the stream holds; and what is told of pictures that are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medtrain.io.dicom_jpeg import is_mixed
from medtrain.io.dicom_notes import picture_notes, tell_notes
from medtrain.io.image import read_image
from medtrain.io.stats import stat_files
from tests.dicom_files import dataset, write, write_frames

BASELINE, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"


LOSS = 4  # levels on average: a picture of wrong colours is off by 30 and more


def far(read: np.ndarray, rgb: np.ndarray) -> float:
    return float(np.abs(read.astype(int) - rgb).mean())


def picture(kind: str) -> np.ndarray:
    """A smooth RGB picture: grey, tissue (pink on white), or of strong colours."""
    y, x = np.mgrid[:64, :64]
    grey = ((x + y) * 2).astype(np.uint8)
    if kind == "grey":
        return np.stack([grey] * 3, -1)
    if kind == "tissue":
        dark = (np.hypot(x - 32, y - 30) < 20)[..., None] * (40 + 20 * np.sin(x / 3 + y / 5))[..., None]
        return (np.array([243, 238, 242]) - dark * np.array([0.7, 1.8, 1.1])).clip(0, 255).astype(np.uint8)
    return np.stack([grey, 255 - grey, np.roll(grey, 20, 1)], -1)


def jpeg(rgb: np.ndarray, holds: str, markers: str, subsampling: int = 0) -> bytes:
    """A stream that holds RGB or YCbCr, with the markers of JFIF, Adobe's, or none."""
    if holds == "RGB":
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=95, keep_rgb=True)  # components R, G, B and Adobe's marker
    else:
        buffer = io.BytesIO()
        tables = {"qtables": [[2] * 64]} if markers == "numbers" else {"quality": 95}
        Image.fromarray(rgb).save(buffer, "JPEG", subsampling=subsampling, **tables)  # JFIF's
    raw = bytearray(buffer.getvalue())
    for marker in (b"\xff\xe0", b"\xff\xee"):
        if (at := raw.find(marker)) == 2:
            del raw[at : at + 2 + int.from_bytes(raw[at + 2 : at + 4], "big")]
    if markers == "adobe":
        raw[2:2] = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([holds != "RGB"])
    if markers == "jfif":
        raw[2:2] = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    if markers == "numbers":  # components 1, 2, 3 of one table: nothing but the picture says what they are
        start = raw.index(b"\xff\xc0")
        names = [raw[start + 10 + 3 * n] for n in range(3)]
        for n in range(3):
            raw[start + 10 + 3 * n], raw[start + 12 + 3 * n] = n + 1, 0
        scan = raw.index(b"\xff\xda")
        for n in range(3):
            raw[scan + 5 + 2 * n] = names.index(raw[scan + 5 + 2 * n]) + 1
    return bytes(raw)


def compressed(path: Path, stream: bytes, says: str, syntax: str = BASELINE, **elements: Any) -> Path:
    ds = dataset(np.zeros((64, 64, 3), np.uint8), PhotometricInterpretation=says, **elements)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", ["grey", "tissue", "strong"])
@pytest.mark.parametrize("says", ["RGB", "YBR_FULL_422", "YBR_FULL"])
@pytest.mark.parametrize(("holds", "markers"), [("YCbCr", "jfif"), ("YCbCr", "adobe"), ("YCbCr", "none"),
                                                ("RGB", "adobe"), ("RGB", "none")])  # fmt: skip
def test_a_jpeg_has_the_colours_that_it_holds(tmp_path: Path, kind: str, says: str, holds: str, markers: str) -> None:
    rgb = picture(kind)
    path = compressed(tmp_path / "a.dcm", jpeg(rgb, holds, markers), says)
    assert far(read_image(path), rgb) < LOSS
    assert picture_notes(path) == ["colours"] * ((says == "RGB") != (holds == "RGB"))


@pytest.mark.parametrize("says", ["RGB", "YBR_FULL_422"])
def test_a_subsampled_jpeg_holds_ycbcr(tmp_path: Path, says: str) -> None:
    rgb = picture("grey")
    path = compressed(tmp_path / "a.dcm", jpeg(rgb, "YCbCr", "none", subsampling=2), says)
    assert far(read_image(path), rgb) < LOSS


@pytest.mark.parametrize("kind", ["grey", "tissue"])
@pytest.mark.parametrize("holds", ["RGB", "YCbCr"])
@pytest.mark.parametrize("says", ["RGB", "YBR_FULL_422"])
def test_without_any_marker_the_picture_says_it(tmp_path: Path, kind: str, holds: str, says: str) -> None:
    """Red, green and blue share their edges, whatever the file calls them."""
    rgb = picture(kind)
    path = compressed(tmp_path / "a.dcm", jpeg(rgb, holds, "numbers"), says)
    assert far(read_image(path), rgb) < LOSS


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_jpeg_dcmtk", "SC_rgb_jpeg_lossy_gdcm", "SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_+eb+cr", "SC_rgb_jpeg",
     "SC_rgb_jpeg_app14_dcmd", "SC_jpeg_no_color_transform", "SC_jpeg_no_color_transform_2", "SC_rgb_dcmtk_+eb+cy+s4"],
)  # fmt: skip
def test_pydicom_s_own_colour_files(name: str) -> None:
    """Writers that tell the truth, by JFIF, Adobe's marker, a broken one of it, or without any."""
    try:
        path = get_testdata_file(f"{name}.dcm", download=False)
    except ValueError:
        path = None
    if path is None:
        pytest.skip("not in this pydicom")
    assert np.abs(read_image(str(path)).astype(int) - pydicom.dcmread(path).pixel_array).max() <= 3


@pytest.mark.parametrize("says", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL"])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("kind", ["strong", "tissue"])
def test_jpeg_2000_with_and_without_mixed_components(tmp_path: Path, says: str, mixed: bool, kind: str) -> None:
    rgb = picture(kind)
    stored = np.array(Image.fromarray(rgb).convert("YCbCr")) if says == "YBR_FULL" and not mixed else rgb
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG2000", irreversible=False, mct=int(mixed), no_jp2=True)
    assert is_mixed(buffer.getvalue()) is mixed
    path = compressed(tmp_path / "a.dcm", buffer.getvalue(), says, "1.2.840.10008.1.2.4.90")
    assert np.abs(read_image(path).astype(int) - rgb).max() <= (3 if says == "YBR_FULL" and not mixed else 0)


@pytest.mark.parametrize("syntax", ["201", "202", "203"])
@pytest.mark.parametrize(("kind", "bits", "shape"), [
    (np.uint8, 8, (40, 50)), (np.uint16, 12, (40, 50)), (np.uint16, 16, (40, 50)), (np.int16, 12, (40, 50)),
    (np.uint8, 8, (40, 50, 3)),
])  # fmt: skip
def test_high_throughput_jpeg_2000(tmp_path: Path, syntax: str, kind: Any, bits: int, shape: tuple[int, ...]) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    low = -(1 << bits - 1) if np.dtype(kind).kind == "i" else 0
    pixels = np.random.default_rng(bits).integers(low, low + (1 << bits), shape).astype(kind)
    pixels.flat[:2] = low, low + (1 << bits) - 1
    stream = imagecodecs.htj2k_encode(pixels, reversible=True)
    ds = dataset(pixels, bits)
    ds.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    read = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read, read_image(write(tmp_path / "plain.dcm", pixels, bits)))


TOLD: list[tuple[dict[str, Any], list[str]]] = [
    ({"PresentationIntentType": "FOR PROCESSING"}, ["raw"]),
    ({"PresentationIntentType": "FOR PRESENTATION"}, []),
    ({"PixelAspectRatio": ["2", "1"]}, ["oblong"]),
    ({"PixelAspectRatio": ["3", "3"]}, []),
    ({"PixelSpacing": ["0.2", "0.3"]}, ["oblong"]),
    ({"ImagerPixelSpacing": ["0.143", "0.143"]}, []),
    ({"NominalScannedPixelSpacing": ["0.1", "0.2"]}, ["oblong"]),
    ({"PixelSpacing": ["0.2", "0.2"], "ImagerPixelSpacing": ["0.2", "0.3"]}, []),
    ({"PresentationIntentType": "FOR PROCESSING", "PixelAspectRatio": ["1", "2"]}, ["raw", "oblong"]),
    ({"VOILUTFunction": "CUBIC"}, ["function"]),
    ({"VOILUTFunction": "SIGMOID"}, []),
]


@pytest.mark.parametrize(("elements", "notes"), TOLD)
def test_what_is_told_of_a_picture(tmp_path: Path, elements: dict[str, Any], notes: list[str]) -> None:
    assert picture_notes(write(tmp_path / "a.dcm", np.zeros((8, 8), np.uint8), **elements)) == notes
    if set(elements) == {"PixelSpacing"}:
        shared = {"PixelMeasures": {"PixelSpacing": [float(v) for v in elements["PixelSpacing"]]}}
        assert picture_notes(write_frames(tmp_path / "b.dcm", np.zeros((1, 8, 8), np.uint16), shared, [{}])) == notes


def test_overlays_are_told_and_not_drawn(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for group in (0x6000, 0x601E):
        ds = dataset(pixels | ((pixels % 3 == 0) << 12).astype(np.uint16), 12)  # one in a bit that no pixel has
        ds.add_new((group, 0x0010), "US", 8)
        ds.add_new((group, 0x0102), "US", 12)
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert picture_notes(tmp_path / "a.dcm") == ["overlay"]
        np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), read_image(write(tmp_path / "b.dcm", pixels, 12)))


def test_notes_are_told_once_a_kind_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {"PresentationIntentType": "FOR PROCESSING"}
    files = [write(tmp_path / f"{n}.dcm", np.zeros((8, 8), np.uint8), **(raw if n % 2 else {})) for n in range(6)]
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    paths = [str(file) for file in files] + [str(tmp_path / "x.png"), str(tmp_path / "gone")]
    for _ in range(2):
        lines: list[str] = []
        tell_notes(paths, stat_files(paths), tmp_path / "cache", lines.append)
        assert len(lines) == 1 and lines[0].startswith("3 of 8 pictures: marked FOR PROCESSING")
        assert lines[0].endswith("the first is 1.dcm")
        monkeypatch.setattr("medtrain.io.dicom_notes.picture_notes", lambda path: 1 / 0)

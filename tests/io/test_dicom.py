"""DICOM files of every kind that radiographs come in are read to the bit; the rest is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from medtrain.io.dicom import read_dicom, read_patient_id, read_slices
from medtrain.io.dicom_files import is_dicom
from medtrain.io.dicom_jpeg import check_jpeg
from medtrain.io.dicom_notes import picture_notes
from medtrain.io.image import read_fitted, read_image
from medtrain.io.image_form import ImageForm, is_picture
from tests.dicom_files import SYNTAXES, dataset, write

SECRET = "Geheim^Person"


def ramp(bits: int, signed: bool = False, shape: tuple[int, int] = (24, 17)) -> np.ndarray:
    """Noise over the whole range of `bits`, both ends in it."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    pixels = np.random.default_rng(bits).integers(low, high, shape, endpoint=True)
    pixels[0, :2] = low, high
    return pixels.astype(("i" if signed else "u") + ("1" if bits == 8 else "2"))


def full(pixels: np.ndarray, white: int = 65535) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    return np.rint((pixels - low) / (high - low) * white)


@pytest.mark.parametrize("syntax", ["", *SYNTAXES])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_depth_sign_and_syntax(tmp_path: Path, bits: int, signed: bool, syntax: str) -> None:
    pixels = ramp(bits, signed)
    path = write(tmp_path / "a.dcm", pixels, bits, syntax)
    read = read_image(path)
    assert read.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(read, full(pixels, 255 if bits == 8 else 65535))
    content = path.read_bytes()
    for cut in [1, 2, 4, 8, 12, *range(20, len(content), max(1, len(content) // 12))]:
        path.write_bytes(content[:-cut])
        try:
            np.testing.assert_array_equal(read_image(path), read)  # all of the pixels, if anything
            assert cut <= 4 and syntax  # the length of the last delimiter
        except ValueError as error:
            assert any(word in str(error) for word in ("truncated", "damaged", "DICOM", "not a picture"))


def test_as_pydicom_decodes_its_own_files() -> None:
    for name in ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
                 "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_expb.dcm"):  # fmt: skip
        path = get_testdata_file(name, download=False)
        ds = pydicom.dcmread(path)
        center, width = float(ds.WindowCenter), float(ds.WindowWidth)
        shown = np.clip((ds.pixel_array - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 65535
        np.testing.assert_array_equal(read_dicom(path), np.rint(shown), name)


def test_dirt_in_the_unused_bits(tmp_path: Path) -> None:
    for signed in (False, True):
        pixels = ramp(12, signed)
        dirty = (pixels.view(np.uint16) & 0x0FFF) | (
            np.arange(pixels.size, dtype=np.uint16).reshape(pixels.shape) << 12
        )
        path = write(tmp_path / "a.dcm", dirty.view(pixels.dtype), 12)
        np.testing.assert_array_equal(read_image(path), full(pixels))


def test_colours(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (10, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", rgb)), rgb)
    planar = rgb.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", rgb, PlanarConfiguration=1, PixelData=planar)), rgb)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", rgb, syntax="rle")), rgb)
    deep = rgb.astype(np.uint16) * 200
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", deep)), deep)
    ybr = np.array(Image.fromarray(rgb).convert("YCbCr"))
    read = read_image(write(tmp_path / "a", ybr, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(read.astype(int) - rgb).max() <= 3  # rounded twice
    shown = read_fitted(write(tmp_path / "a", rgb), ImageForm((10, 8), channels=3, window=(0, 51)))
    np.testing.assert_array_equal(shown, np.minimum(rgb.transpose(2, 0, 1).astype(int) * 5, 255))


def test_a_palette(tmp_path: Path) -> None:
    index = np.arange(64, dtype=np.uint8).reshape(8, 8)
    table = np.arange(256, dtype="<u2") * 257
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in (("Red", table), ("Green", table[::-1]), ("Blue", table * 0)):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = values.tobytes()
    read = read_image(write(tmp_path / "a.dcm", index, **palette))
    np.testing.assert_array_equal(read, np.stack([index, 255 - index, 0 * index], axis=-1))


@pytest.mark.parametrize("bits", [8, 12])
def test_a_palette_of_16_bits_that_fills_8_is_no_black_picture(tmp_path: Path, bits: int) -> None:
    index = np.arange(0, 1 << bits, 1 << bits - 8, dtype=np.uint8 if bits == 8 else np.uint16).reshape(16, 16)
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [1 << bits, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = (np.arange(1 << bits, dtype="<u2") >> bits - 8).tobytes()
    path = write(tmp_path / "a.dcm", index, bits, **palette)
    np.testing.assert_array_equal(read_image(path), np.stack([index >> bits - 8] * 3, axis=-1))
    assert picture_notes(path) == ["palette"]
    palette["BluePaletteColorLookupTableData"] = (np.arange(1 << bits, dtype="<u2") << 16 - bits).tobytes()
    assert picture_notes(write(tmp_path / "b.dcm", index, bits, **palette)) == []


def test_a_jpeg_ls_stream_of_12_bits_knows_no_sign(tmp_path: Path) -> None:
    """A stream as CharLS writes it; GDCM's own have 16 bits always."""
    pixels = np.arange(-2048, 2048, 64, dtype=np.int16).reshape(8, 8)
    stream = (
        "ffd8fff7000b0c0008000801011100ffda0008010100000000000000001ffd7f7d7b79777573000080407e7c7a7876203fe7472706e6c6"
        "a7e7f8d0ccc8c4c0bcf8fea0410421080000101716961595149e9fc2827262524233c3f6444240fdf3d3b0ffd9"
    )
    path = write(tmp_path / "a.dcm", pixels, 12, "jpeg_ls")
    ds = pydicom.dcmread(path)
    ds.PixelData = pydicom.encaps.encapsulate([bytes.fromhex(stream)])
    ds.save_as(path)
    np.testing.assert_array_equal(read_image(path), full(pixels))
    (values,) = read_slices(path)
    np.testing.assert_array_equal(values, pixels)


DAMAGES: list[tuple[str, str, int, bytes]] = [  # where a marker begins, what follows it: each brings GDCM down
    ("jpeg_lossless", "ffc3", 4, b"\x23"),  # bits a sample
    ("jpeg_lossless", "ffc3", 7, b"\x01\x11"),  # columns
    ("jpeg_lossless", "ffc3", 5, b"\x00\x19"),  # rows
    ("jpeg_lossless_sv1", "ffc4", 4, b"\x00\xff"),  # codes of a table
    ("jpeg_lossless_sv1", "ffc4", 21, b"\x8c"),  # a value of it
    ("jpeg_lossless", "ffda", 0, b"\x00\x00"),
    ("jpeg_ls", "fff7", 4, b"\x23"),
    ("jpeg_ls", "fff7", 9, b"\x03"),
    ("jpeg_2000", "ff51", 10, b"\xbe"),  # rows, which a decoder would work on for hours
    ("jpeg_2000", "ff51", 40, b"\xd9"),  # bits a sample
]


@pytest.mark.parametrize(("syntax", "marker", "start", "damage"), DAMAGES)
def test_a_damaged_stream_costs_its_own_file_and_not_the_program(
    tmp_path: Path, syntax: str, marker: str, start: int, damage: bytes
) -> None:
    path = write(tmp_path / "a.dcm", ramp(12), 12, syntax)
    content = bytearray(path.read_bytes())
    start += content.index(
        bytes.fromhex(marker), content.index(b"\xff\x4f\xff" if syntax == "jpeg_2000" else b"\xff\xd8\xff")
    )
    content[start : start + len(damage)] = damage
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or damaged DICOM"):
        read_image(path)


@pytest.mark.parametrize(("marker", "version"), [("e0", "61"), ("d0", "01")])
def test_what_brings_gdcm_down_before_the_frame_is_refused(marker: str, version: str) -> None:
    plain = "ffd8 ff%s 0010 4a46494600 %s 01000001000100 00 ffc3 000b0a0018001101011100 ffda 0008010100010000"
    check_jpeg(bytes.fromhex(plain % ("e0", "01")), (24, 17, 1), 16)
    with pytest.raises(ValueError, match="JFIF|header"):
        check_jpeg(bytes.fromhex(plain % (marker, version)), (24, 17, 1), 16)


def test_a_jpeg_2000_stream_whose_sign_is_not_the_header_s() -> None:
    path = get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)
    (values,) = read_slices(str(path))
    np.testing.assert_array_equal(values, pydicom.dcmread(path).pixel_array)


def test_without_preamble_and_without_suffix(tmp_path: Path) -> None:
    pixels = ramp(12)
    whole = write(tmp_path / "whole.dcm", pixels, 12)
    np.testing.assert_array_equal(read_image(whole.rename(tmp_path / "IM0001")), full(pixels))
    for implicit in (False, True):
        bare = tmp_path / "1.2.840.1"
        ds = dataset(pixels, 12)
        del ds.file_meta, ds.preamble
        ds.save_as(bare, implicit_vr=implicit, little_endian=True)
        assert bare.read_bytes()[128:132] != b"DICM" and is_picture(bare)
        np.testing.assert_array_equal(read_image(bare), full(pixels))
    (tmp_path / "notes").write_text("a text")
    Image.fromarray(ramp(8)).save(tmp_path / "x.png")
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IM0001").read_bytes())
    (tmp_path / "sub.png").mkdir()
    assert sorted(p.name for p in tmp_path.iterdir() if is_picture(p)) == ["1.2.840.1", "IM0001", "x.png"]
    (tmp_path / "x.dcm").write_bytes((tmp_path / "x.png").read_bytes())  # the content counts, not the suffix
    np.testing.assert_array_equal(read_image(tmp_path / "x.dcm"), ramp(8))
    assert not is_dicom(b"") and not is_dicom(b"\x08\x00")


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("frames", {"NumberOfFrames": 7}, r"multi-frame DICOM \(7 frames\)"),
    ("no pixels", {"PixelData": None}, "truncated DICOM"),
    ("a report", {"PixelData": None, "Rows": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"},
     "without a picture: Basic Text SR Storage"),
    ("short", {"PixelData": b"\1\2\3\4"}, "truncated DICOM: 4 bytes of pixels of 816"),
    ("no rows", {"Rows": None}, "damaged DICOM: no Rows"),
    ("no depth", {"BitsAllocated": None}, "damaged DICOM: no BitsAllocated"),
    ("no bits", {"BitsStored": None, "HighBit": None}, "damaged DICOM: no BitsStored"),
    ("no sign", {"PixelRepresentation": None}, "damaged DICOM: no PixelRepresentation"),
    ("no colours", {"PhotometricInterpretation": None}, "damaged DICOM: no PhotometricInterpretation"),
    ("no samples", {"SamplesPerPixel": None}, "damaged DICOM: no SamplesPerPixel"),
    ("two", {"BitsAllocated": None, "Columns": None}, "damaged DICOM: no Columns, BitsAllocated"),
    ("no order", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "no PlanarConfiguration"),
    ("nothing", {"Rows": 0}, "DICOM of 0 pixels"),
    ("huge", {"Rows": 65000, "Columns": 65000}, "178 million pixels"),
    ("high bit", {"BitsStored": 12, "HighBit": 15}, "12 bits stored below bit 15"),
    ("what colour", {"PhotometricInterpretation": "HSV"}, "neither grey, RGB"),
    ("rescale", {"RescaleSlope": "NaN", "RescaleIntercept": "0"}, "rescale slope or intercept"),
    ("flat", {"RescaleSlope": "0", "RescaleIntercept": "0"}, "rescale slope or intercept"),
    ("infinite", {"RescaleSlope": "1e308", "RescaleIntercept": "0"}, "infinite values"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "elements", "reason"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_is_refused(tmp_path: Path, name: str, elements: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "a.dcm", ramp(12), 12, PatientName=SECRET, PatientID=SECRET, **elements)
    with pytest.raises(ValueError, match=reason) as caught:
        read_image(path)
    assert SECRET not in str(caught.value)


def test_syntaxes_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = dataset(ramp(12), 12)
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" + bytes(64) + b"\xff\xd9"])
    ds["PixelData"].VR = "OB"
    for syntax, name in (
        ("102", "MPEG-4 AVC/H.264 High Profile"),
        ("201", "High-Throughput JPEG 2000.*pip install -U"),
    ):
        ds.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
        ds.save_as(tmp_path / "a.dcm")
        monkeypatch.setattr("medtrain.io.dicom_pixels.features.version_codec", lambda codec: "2.4.0")
        with pytest.raises(ValueError, match=name):
            read_image(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"JPEG Extended.* 12 bits"):
        read_image(str(get_testdata_file("JPGExtended.dcm", download=False)))


def test_no_damage_quotes_the_header(tmp_path: Path) -> None:
    """Values that cannot be parsed, in every element that the reader looks at, and random bytes changed."""
    plain = write(tmp_path / "a.dcm", ramp(12), 12, PatientName=SECRET, WindowCenter="100", WindowWidth="50",
                  RescaleSlope="1", RescaleIntercept="0", NumberOfFrames="1", SmallestImagePixelValue=0)  # fmt: skip
    content = plain.read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(content)
        for at in draw.integers(132, len(content) - 816, 4):
            broken[at] = draw.integers(0, 256)
        plain.write_bytes(broken)
        try:
            assert read_image(plain).dtype in (np.uint8, np.uint16)
        except ValueError as error:
            assert "Geheim" not in str(error) and len(str(error)) < 140
        read_patient_id(plain)
    bad = str(get_testdata_file("badVR.dcm", download=False))  # '1A' as a number
    with pytest.raises(ValueError) as caught:
        read_image(bad)
    assert "1A" not in str(caught.value)


def test_patient_ids(tmp_path: Path) -> None:
    assert read_patient_id(write(tmp_path / "a.dcm", ramp(8), PatientID=" 0042 ")) == "0042"
    assert read_patient_id(write(tmp_path / "a.dcm", ramp(8), PatientID="")) is None
    assert read_patient_id(write(tmp_path / "a.dcm", ramp(8), PatientID=None)) is None
    (tmp_path / "b.dcm").write_bytes(b"nothing")
    assert read_patient_id(tmp_path / "b.dcm") is read_patient_id(tmp_path / "gone") is None


def test_real_films(test_data: Path) -> None:
    """Both hold the same pixels; one says that they are MONOCHROME1, so it comes inverted."""
    (second,), (first,) = ([*(test_data / "xray").glob(name)] for name in ("1.2.276*.dcm", "Fake_MONOHR1.dcm"))
    shown = read_image(second)
    assert shown.shape == (1024, 1024) and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, pydicom.dcmread(second).pixel_array)
    np.testing.assert_array_equal(read_image(first), 255 - shown)
    assert shown[500:560, 490:530].mean() > shown[400:500, 250:300].mean() + 50  # the spine over the lung

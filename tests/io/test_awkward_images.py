"""Pictures that are rare but right come through; broken ones give a reason, never another error."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.io.image import fit_image, read_fitted, read_image
from medtrain.io.image_form import ImageForm


def png(path: Path, width: int, height: int, bits: int, kind: int, rows: bytes) -> Path:
    """A PNG file by hand, of kinds that PIL does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_sixteen_bit_colour_comes_as_eight(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 4, 3)).astype(">u2")
    read = read_image(png(tmp_path / "a.png", 4, 5, 16, 2, b"".join(b"\0" + row.tobytes() for row in pixels)))
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read, pixels / 257, atol=1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    assert (read_image(tmp_path / "a.jpg") > 250).all()


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.eye(9) > 0).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.eye(9) * 255)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1), (3, 5000)])
@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
def test_extreme_shapes(tmp_path: Path, shape: tuple[int, int], fit: str) -> None:
    Image.fromarray(np.full(shape, 200, np.uint8)).save(tmp_path / "a.png")
    out = read_fitted(tmp_path / "a.png", ImageForm((64, 64), fit=fit))
    assert out.shape == (1, 64, 64) and out.max() == 200 and (fit == "pad" or out.min() == 200)


def test_a_crop_is_the_middle() -> None:
    picture = np.repeat(np.arange(0, 90, 10, dtype=np.uint8)[None], 3, axis=0)
    np.testing.assert_array_equal(fit_image(picture, (3, 3), fit="crop")[0], picture[:, 3:6])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_constant_pictures_stay(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.full((6, 6), 77, dtype)).save(tmp_path / "a.png")
    assert (read_fitted(tmp_path / "a.png", ImageForm((6, 6))) == 77).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_floating_point_tiffs(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating point pixels"):
        read_image(tmp_path / "a.tif")


def test_a_bomb(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 178 million pixels"):
        read_image(png(tmp_path / "a.png", 100_000, 100_000, 8, 0, b"\0"))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="a pipe"):
        read_image(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ValueError, match="symbolic links"):
        read_image(tmp_path / "loop.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ValueError, match="Permission denied"):
        read_image(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_damage_gives_a_reason(tmp_path: Path, suffix: str) -> None:
    draw = np.random.default_rng(0)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(draw.integers(0, 255, (16, 16), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for _ in range(100):
        broken = bytearray(content)
        for at in draw.integers(0, len(content), 3):
            broken[at] = draw.integers(0, 256)
        path.write_bytes(broken[: draw.integers(1, len(content) + 1)])
        try:
            assert read_image(path).dtype in (np.uint8, np.uint16)
        except ValueError as error:
            assert str(error)

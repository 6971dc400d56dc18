"""Slides that OpenSlide doesn't read whole: pixels, levels and um/px against what was written."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from medtrain.io.slide import Slide
from medtrain.io.slide_content import slide_content

PIXELS = np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)
CM = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER", "metadata": None, "photometric": "rgb"}


def ome(path: Path, unit: str = "µm", size: float = 0.25) -> Path:
    with tifffile.TiffWriter(path, ome=True) as writer:
        form = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate"}
        about = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size, "PhysicalSizeYUnit": unit}  # fmt: skip  # noqa: E501
        writer.write(PIXELS, subifds=2, metadata=about, **form)
        for level in (2, 4):
            writer.write(np.ascontiguousarray(PIXELS[::level, ::level]), subfiletype=1, **form)
    return path


@pytest.mark.parametrize(("unit", "size"), [("µm", 0.25), ("nm", 250.0), ("mm", 0.00025)])
def test_ome_tiff_has_its_um_per_pixel_and_smaller_levels(tmp_path: Path, unit: str, size: float) -> None:
    slide = Slide(ome(tmp_path / "s.ome.tiff", unit, size))
    assert slide.mpp == pytest.approx(0.25) and slide.mpp_from == "file"
    assert slide.sizes == [(900, 600), (450, 300), (225, 150)] and slide.downsamples == pytest.approx([1, 2, 4])
    np.testing.assert_array_equal(slide.read(0, 100, 50, 400, 300), PIXELS[50:350, 100:500])
    np.testing.assert_array_equal(slide.read(1, 10, 20, 200, 100), PIXELS[::2, ::2][20:120, 10:210])
    assert slide.view(0.5, 256).level == 1
    again = pickle.loads(pickle.dumps(slide))
    np.testing.assert_array_equal(again.read(2, 0, 0, 225, 150), PIXELS[::4, ::4])
    edge = slide.read(0, 880, 590, 40, 40)
    assert (edge[10:] == 255).all() and (edge[:, 20:] == 255).all() and (edge[:10, :20] == PIXELS[590:, 880:]).all()
    assert slide_content(tmp_path / "s.ome.tiff").startswith("s1:")


@pytest.mark.parametrize("rows", [1, 64, 100, 600])
@pytest.mark.parametrize("compression", ["deflate", "lzw", None])
def test_strips_are_read(tmp_path: Path, rows: int, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "s.tif", PIXELS, rowsperstrip=rows, compression=compression, **CM)
    slide = Slide(tmp_path / "s.tif")
    assert (slide.mpp, slide.mpp_from) == (pytest.approx(0.25), "resolution")
    np.testing.assert_array_equal(slide.read(0, 100, 50, 400, 300), PIXELS[50:350, 100:500])


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "zstd"])
def test_other_compressions_in_tiff_are_read(tmp_path: Path, compression: str) -> None:
    how = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    tifffile.imwrite(tmp_path / "s.tif", PIXELS, tile=(256, 256), compression=compression, **how, **CM)
    np.testing.assert_array_equal(Slide(tmp_path / "s.tif").read(0, 200, 100, 300, 300), PIXELS[100:400, 200:500])


@pytest.mark.parametrize("ending", ["png", "jpg", "jp2", "webp"])
def test_flat_pictures_are_slides_of_one_level(tmp_path: Path, ending: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"s.{ending}")
    expected = np.asarray(Image.open(tmp_path / f"s.{ending}").convert("RGB"))
    slide = Slide(tmp_path / f"s.{ending}", default_mpp=0.5)
    assert slide.sizes == [(900, 600)] and slide.mpp_from == "default"
    np.testing.assert_array_equal(slide.read(0, 10, 20, 300, 200), expected[20:220, 10:310])


def test_grey_is_three_colours_and_transparency_is_white(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "g.tif", PIXELS[..., 0], rowsperstrip=50, **(CM | {"photometric": "minisblack"}))
    np.testing.assert_array_equal(Slide(tmp_path / "g.tif").read(0, 0, 0, 9, 9), PIXELS[:9, :9, :1].repeat(3, 2))
    clear = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])
    Image.fromarray(clear).save(tmp_path / "c.png")
    assert (Slide(tmp_path / "c.png", mpp=0.5).read(0, 0, 0, 50, 50) == 255).all()


def test_what_cannot_be_read_says_how_to_convert_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "16.tif", PIXELS.astype(np.uint16), rowsperstrip=64, **CM)
    with pytest.raises(ValueError, match="16 bits a colour, and 8 are wanted; convert it: vips tiffsave"):
        Slide(tmp_path / "16.tif")
    planes = np.moveaxis(PIXELS, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, planarconfig="separate", rowsperstrip=64, **CM)
    with pytest.raises(ValueError, match="not stored as red, green and blue together; convert it"):
        Slide(tmp_path / "p.tif")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="not a"):
        Slide(tmp_path / "text.png")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_what_a_file_lacks_is_not_made_up(tmp_path: Path, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "s.tif", PIXELS, rowsperstrip=100, compression=compression, **CM)
    whole = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(whole[: len(whole) * 2 // 3])
    slide = Slide(tmp_path / "s.tif")
    np.testing.assert_array_equal(slide.read(0, 0, 0, 900, 300), PIXELS[:300])
    with pytest.raises(ValueError, match="the file ends before it"):
        slide.read(0, 0, 500, 900, 100)


def test_other_pictures_in_a_file_are_counted(tmp_path: Path) -> None:
    assert Slide(ome(tmp_path / "alone.ome.tiff")).unread == 0
    with tifffile.TiffWriter(tmp_path / "two.ome.tiff", ome=True) as writer:
        for picture in (PIXELS, PIXELS[:500, :800], PIXELS[:60, :40]):  # the last is a label
            writer.write(np.ascontiguousarray(picture), tile=(256, 256), photometric="rgb", metadata={"axes": "YXS"})
    two = Slide(tmp_path / "two.ome.tiff", default_mpp=0.25)
    assert two.sizes[0] == (900, 600) and two.unread == pytest.approx(400 / 940)
    tiles = {"tile": (256, 256), "compression": "deflate", **CM}
    for name, second, share in (
        ("same", PIXELS[::-1], 0.5),
        ("level", PIXELS[::2, ::2], 0),
        ("pages", PIXELS[:, :450], 1 / 3),
    ):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            writer.write(PIXELS, **tiles)
            writer.write(np.ascontiguousarray(second), **tiles)
        assert Slide(tmp_path / f"{name}.tif").unread == pytest.approx(share), name
        strips = tmp_path / f"{name}_strips.tif"
        with tifffile.TiffWriter(strips) as writer:
            writer.write(PIXELS, rowsperstrip=64, **CM)
            writer.write(np.ascontiguousarray(second), rowsperstrip=64, **CM)
        if name != "same":  # which tifffile takes for one stack: refused
            assert Slide(strips).unread == pytest.approx(share), name

"""Tiles of slides against OpenSlide itself, against averages of level 0, and of files that a reader must survive."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from medtrain.data.phantom.slide import write_slide
from medtrain.io import slide_tiff
from medtrain.io.slide import Slide, slide_fingerprint
from medtrain.io.slide_openslide import OpenSlideLevels
from medtrain.io.slide_tiff import TiffLevels
from tests.slide_files import break_tile, flat_slide, slide_file, stained


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slide_file(tmp_path_factory.mktemp("slide") / "a.tiff", 1088)


def by_openslide(path: Path, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
    """As OpenSlide's own documentation reads a region, on white."""
    region = openslide.OpenSlide(str(path)).read_region((x, y), level, (width, height))
    white = Image.new("RGBA", region.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, region).convert("RGB"))


def test_the_direct_reader_is_taken_and_gives_openslides_pixels(file: Path) -> None:
    slide = Slide(file)
    assert [slide.reader(level) for level in range(3)] == ["tiff"] * 3
    for x, y, width, height in ((0, 0, 256, 256), (256, 512, 256, 256), (100, 37, 300, 280), (1000, 900, 256, 256)):
        assert np.array_equal(slide.read(0, x, y, width, height), by_openslide(file, x, y, 0, width, height))
    whole = by_openslide(file, 0, 0, 1, 272, 272)
    assert np.array_equal(slide.read(1, 0, 0, 272, 272), whole)
    assert np.array_equal(slide.read(1, -10, -20, 50, 50)[20:, 10:], whole[:30, :40])


def test_real_slides_are_read_alike_by_both(test_data: Path) -> None:
    """A stored tile of 240 pixels and a width that is no multiple of it, as a scanner wrote them."""
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    direct, plain = Slide(path), Slide(path, direct=False)
    assert (direct.reader(0), plain.reader(0)) == ("tiff", "openslide")
    view = direct.view(0.5, 256)
    for x in range(0, 2220, 512):
        for y in range(0, 2967, 768):
            assert np.array_equal(direct.tile(view, x, y), plain.tile(view, x, y))


def test_a_fractional_level_is_openslides_up_to_its_interpolation(tmp_path: Path) -> None:
    pixels = stained(1040)[0][:1031]
    path = tmp_path / "odd.tiff"
    write_slide(path, pixels)
    slide = Slide(path)
    assert not float(slide.downsamples[1]).is_integer()
    assert slide.reader(1) == "tiff"


def test_pixels_that_differ_leave_the_slide_to_openslide(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = TiffLevels.read
    monkeypatch.setattr(TiffLevels, "read", lambda self, *at: honest(self, *at) ^ 1)
    slide = Slide(file)
    assert slide.reader(0) == "openslide"
    assert np.array_equal(slide.read(0, 5, 6, 70, 80), by_openslide(file, 5, 6, 0, 70, 80))


@pytest.mark.parametrize("direct", [True, False])
def test_tiles_at_a_coarser_resolution_are_averages_of_the_place_at_level_0(file: Path, direct: bool) -> None:
    slide = Slide(file, direct=direct)
    whole = slide.read(0, 0, 0, 1088, 1088).astype(float)
    view = slide.view(1.0, 128)
    assert (view.level, view.factor, view.edge) == (0, 2.0, 256)
    blocks = whole[300 : 300 + 256, 200 : 200 + 256].reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(slide.tile(view, 200, 300) - blocks).max() <= 1
    coarse = slide.view(4.0, 64)  # level 1 has 2 um/px
    assert (coarse.level, coarse.factor, coarse.edge, coarse.mpp) == (1, 2.0, 512, 4.0)
    blocks = whole[304 : 304 + 512, 400 : 400 + 512].reshape(64, 8, 64, 8, 3).mean((1, 3))
    assert np.abs(slide.tile(coarse, 400, 304) - blocks).mean() < 5  # compressed twice
    assert np.abs(slide.tile(coarse, 400 // 4, 304 // 4) - blocks).mean() > 20


def test_any_resolution_between_levels(file: Path) -> None:
    slide = Slide(file)
    view = slide.view(0.7, 100)
    assert (view.level, view.mpp) == (0, 0.7) and abs(view.edge - 140) < 1e-9
    torch = pytest.importorskip("torch")
    region = torch.from_numpy(slide.read(0, 160, 320, 140, 140).copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(region, (100, 100), mode="bilinear", antialias=True)[0]
    assert np.abs(slide.tile(view, 160, 320) - expected.permute(1, 2, 0).numpy()).max() <= 1


def test_a_scanner_that_is_2_percent_off_is_not_resampled(file: Path) -> None:
    assert Slide(file, mpp=0.2465).view(0.25, 256).factor == 1
    assert Slide(file, mpp=0.2465).view(0.5, 256).factor == 2
    assert Slide(file, mpp=0.23).view(0.25, 256).factor == pytest.approx(0.25 / 0.23)


def test_a_slide_that_is_too_coarse_says_so(file: Path) -> None:
    with pytest.raises(ValueError, match=r"0.5 um/px \(20x\), which is coarser than the wanted 0.25"):
        Slide(file).view(0.25, 256)


def test_where_um_per_pixel_come_from(tmp_path: Path) -> None:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    bare = flat_slide(tmp_path / "bare.tiff", pixels)
    with pytest.raises(ValueError, match=r"does not say its um/px; set data.default_mpp"):
        Slide(bare)
    assert (Slide(bare, default_mpp=0.25).mpp, Slide(bare, default_mpp=0.25).mpp_from) == (0.25, "default")
    tagged = flat_slide(tmp_path / "tagged.tiff", pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    assert (Slide(tagged, default_mpp=1.0).mpp, Slide(tagged).mpp_from) == (0.5, "file")
    assert (Slide(tagged, mpp=0.3).mpp, Slide(tagged, mpp=0.3).mpp_from) == (0.3, "given")
    screen = flat_slide(tmp_path / "screen.tiff", pixels, resolution=(72, 72), resolutionunit="INCH")
    with pytest.raises(ValueError, match="says 352.8 um/px, which no scanner has"):
        Slide(screen)


def test_an_objective_stands_in_for_um_per_pixel(tmp_path: Path) -> None:
    text = "Aperio Image Library v11\n300x300 (256x256) JPEG/RGB Q=70|AppMag = 40"
    path = flat_slide(tmp_path / "a.svs", np.full((300, 300, 3), 200, np.uint8), description=text)
    assert (Slide(path).mpp, Slide(path).mpp_from, Slide(path).magnification) == (0.25, "objective", 40)


@pytest.mark.parametrize("direct", [True, False])
def test_what_lies_outside_is_white(file: Path, direct: bool) -> None:
    slide = Slide(file, direct=direct)
    tile = slide.tile(slide.view(0.5, 256), 1024, 0)
    assert (tile[:, 64:] == 255).all()
    assert (tile[:, :64] < 255).any()


@pytest.mark.parametrize("direct", [True, False])
def test_a_bad_tile_does_not_spoil_the_others(tmp_path: Path, direct: bool) -> None:
    path = slide_file(tmp_path / "bad.tiff")
    before = Slide(path).read(0, 0, 0, 256, 256)
    break_tile(path, 4)
    slide = Slide(path, direct=direct)
    for _ in range(2):
        with pytest.raises(ValueError, match="level 0 cannot be decoded at x="):
            slide.read(0, 256, 256, 256, 256)
        assert np.array_equal(slide.read(0, 0, 0, 256, 256), before)


def test_handles_stay_at_home(file: Path) -> None:
    slide = Slide(file)
    expected = slide.read(0, 10, 10, 300, 300)
    written, before = pickle.dumps(slide), len(os.listdir("/dev/fd"))
    travelled = pickle.loads(written)
    assert len(written) < 10_000  # no decoded tile goes along
    assert len(os.listdir("/dev/fd")) == before  # and no file is open before it is needed
    assert np.array_equal(travelled.read(0, 10, 10, 300, 300), expected)


def test_decoded_tiles_are_kept_within_bounds(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_tiff, "CACHE", 5 * 256 * 256 * 3)
    tiff = TiffLevels(OpenSlideLevels(file))
    places, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (places.append(args[2]), pread(*args))[1])
    tiff.read(0, 0, 0, 1088, 1088)
    assert len(places) == 25
    tiff.read(0, 0, 1024, 1088, 64)  # the last row, the last five that were decoded
    assert len(places) == 25
    tiff.read(0, 0, 768, 1088, 256)
    assert len(places) == 30  # any other has gone


def test_an_overview_covers_the_slide(file: Path) -> None:
    slide = Slide(file)
    picture, scale = slide.overview(8.0)
    assert (picture.shape, scale) == ((68, 68, 3), 16)
    small = np.asarray(Image.fromarray(slide.read(0, 0, 0, 1088, 1088)).reduce(16)).astype(float)
    assert np.abs(picture - small).mean() < 6
    assert np.abs(picture[::-1] - small).mean() > 15


def test_an_overview_shows_what_cannot_be_decoded(tmp_path: Path) -> None:
    path = slide_file(tmp_path / "bad.tiff")
    whole, scale = Slide(path).overview(1.0)
    assert scale == 2
    break_tile(path, 4)
    picture, _ = Slide(path).overview(1.0)
    lost = (picture == (255, 0, 255)).all(-1)
    assert lost[128:256, 128:256].all() and lost.sum() == 128**2
    assert np.array_equal(picture[~lost], whole[~lost])


def test_odd_files_are_read_or_say_why_not(test_data: Path, tmp_path: Path) -> None:
    odd = test_data / "slides" / "odd"
    assert Slide(odd / "boxes.tiff", default_mpp=0.5).tile(Slide(odd / "boxes.tiff", mpp=0.5).view(0.5, 64), 0, 0).any()
    small = Slide(odd / "small.svs")
    assert small.sizes == [(16, 16)] and small.overview(8.0)[0].shape == (1, 1, 3)
    with pytest.raises(ValueError, match="its compression is of a kind that is not read .52479.; convert it"):
        Slide(odd / "unopenable.tiff")
    with pytest.raises(ValueError, match="level 0 cannot be decoded"):
        Slide(odd / "unreadable.svs").read(0, 0, 0, 16, 16)
    with pytest.raises(ValueError, match="it has 16 bits a colour, and 8 are wanted; convert it"):
        Slide(odd / "not_a_slide.tif")
    with pytest.raises(ValueError, match="no such file"):
        Slide(tmp_path / "gone.svs")
    (tmp_path / "empty.svs").touch()
    with pytest.raises(ValueError, match="empty file"):
        Slide(tmp_path / "empty.svs")


def test_jpeg_2000(test_data: Path) -> None:
    path = test_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    with pytest.raises(ValueError, match="does not say its um/px"):
        Slide(path)
    slide = Slide(path, default_mpp=0.25)
    assert [slide.reader(level) for level in (0, 1)] == ["tiff"] * 2
    assert np.array_equal(slide.tile(slide.view(0.25, 128), 1024, 1024), by_openslide(path, 1024, 1024, 0, 128, 128))


def test_a_fingerprint_follows_the_content(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other name.tiff"
    copy.write_bytes(file.read_bytes())
    assert slide_fingerprint(copy) == slide_fingerprint(file)
    break_tile(copy, 0)
    assert slide_fingerprint(copy) != slide_fingerprint(file)

"""Tissue masks of others: against matplotlib's paths, known rectangles, and through embedding."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from matplotlib.path import Path as Outline
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.data.slide.embed import Embedder
from medtrain.data.slide.mask_files import Given, masks_of
from medtrain.data.slide.own_mask import OwnMask, draw
from medtrain.data.slide.tiles import Tiling, survey
from medtrain.io.geojson import feature, mask_polygons, write_geojson
from medtrain.io.outlines import fill, read_outlines
from tests.data.test_embed import Counted as Constant
from tests.slide_files import flat_slide

SIZE = (1000, 800)  # of the slide, width and height
SHAPE, SCALE = (80, 100), 10.0
SQUARE = [[100, 100], [500, 100], [500, 300], [100, 300], [100, 100]]
HOLE = [[200, 150], [300, 150], [300, 250], [200, 250], [200, 150]]


def drawn(tmp_path: Path, features: object, *labels: str, name: str = "s.geojson") -> tuple[np.ndarray, str, float]:
    (tmp_path / name).write_text(json.dumps(features))
    mask = draw(OwnMask(str(tmp_path / name), labels or None), SIZE, SHAPE, SCALE)
    return mask.mask, mask.note, mask.beyond


def polygon(rings: list, name: str | None = "Tissue", kind: str = "Polygon") -> dict:
    classified = {"classification": {"name": name}} if name else {}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": classified}


def collection(*features: dict) -> dict:
    return {"type": "FeatureCollection", "features": list(features)}


def rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


SQUARED = rectangle(10, 30, 10, 50) & ~rectangle(15, 25, 20, 30)


def test_outlines_are_filled_as_matplotlib_says() -> None:
    draw_ = np.random.default_rng(0)
    middles = np.stack(np.meshgrid(np.arange(100), np.arange(80)), -1).reshape(-1, 2) * 10 + 5
    for corners in (3, 5, 40):
        angles = np.sort(draw_.random(corners)) * 2 * np.pi
        ring = np.stack([np.cos(angles), np.sin(angles)], 1) * draw_.uniform(200, 600, (corners, 1)) + (500, 400)
        mask = np.zeros(SHAPE, bool)
        fill(mask, [ring], SCALE)
        expected = Outline(np.vstack([ring, ring[:1]]), closed=True).contains_points(middles).reshape(SHAPE)
        assert expected.any() and np.array_equal(mask, expected)


def test_outlines_undo_the_outlines_that_are_written(tmp_path: Path) -> None:
    mask = np.random.default_rng(1).random(SHAPE) > 0.4
    written = [feature(polygon, "Tissue") for polygon in mask_polygons(mask, SCALE)]
    write_geojson(tmp_path / "s.geojson", written)
    assert np.array_equal(draw(OwnMask(str(tmp_path / "s.geojson")), SIZE, SHAPE, SCALE).mask, mask)


@pytest.mark.parametrize(
    "form",
    [
        collection(polygon([SQUARE, HOLE])),
        [polygon([SQUARE, HOLE], None)],
        polygon([[SQUARE, HOLE]], kind="MultiPolygon"),
        {"type": "Polygon", "coordinates": [SQUARE, HOLE]},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [SQUARE, HOLE]}]},
        {"tissue": [[[point] for point in SQUARE[:-1]]], "holes": [[[[point] for point in HOLE[:-1]]]]},
        {"tissue": [SQUARE], "holes": [[HOLE]]},
    ],
    ids=["collection", "list", "multi", "geometry", "geometries", "CLAM", "CLAM flat"],
)
def test_forms_of_outlines(tmp_path: Path, form: object) -> None:
    mask, _, beyond = drawn(tmp_path, form)
    assert np.array_equal(mask, SQUARED) and beyond == pytest.approx(0, abs=1e-9)


def test_a_table_of_points(tmp_path: Path) -> None:
    rows = [f"{x},{y},1,{hole}" for ring, hole in ((SQUARE, ""), (HOLE, "1")) for x, y in ring]
    (tmp_path / "s.csv").write_text("\n".join(["X,Y,contour,hole", *rows]))
    mask = draw(OwnMask(str(tmp_path / "s.csv")), SIZE, SHAPE, SCALE)
    assert np.array_equal(mask.mask, SQUARED) and "without a class" in mask.note


def test_classes_points_and_what_lies_beyond_are_told(tmp_path: Path) -> None:
    beyond = [[x + 700, y] for x, y in SQUARE]  # 800 to 1200 of 1000
    features = [
        polygon([SQUARE]), polygon([beyond], "Tumor"), polygon([HOLE], "Ignore*"), polygon([[[1, 1]]]),
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": {}},
        {"type": "Feature", "geometry": None, "properties": {}},
    ]  # fmt: skip
    mask, note, share = drawn(tmp_path, collection(*features))
    assert np.array_equal(mask, rectangle(10, 30, 10, 50) | rectangle(10, 30, 80, 100))
    assert share == pytest.approx(0.25)
    assert note.startswith("Tissue, Tumor, not ")
    for left_out in ("Ignore* (1)", "Point (1)", "empty objects (1)", "outlines of fewer than three points (1)"):
        assert left_out in note
    mask, note, share = drawn(tmp_path, collection(*features), "Tissue")
    assert np.array_equal(mask, rectangle(10, 30, 10, 50)) and "Tumor (1)" in note and share == pytest.approx(0)


@pytest.mark.parametrize(
    ("features", "labels", "reason"),
    [
        (collection(), (), "encloses no tissue: nothing is drawn"),
        (collection(polygon([SQUARE], "Tumor")), ("tumor",), r"Tumor \(1\); data.tissue_labels wants tumor"),
        (
            collection(polygon([[[x + 5000, y] for x, y in SQUARE]])),
            (),
            "all 1 outlines lie beyond the slide of 1000 x",
        ),
        (collection(polygon([[[1, 1], [2, 1], [2, 2]]])), (), "enclose less than 10"),
        (collection(polygon([[["a", "b"]] * 3])), (), "points that are no numbers"),
        (collection(polygon([[[float("nan"), 1]] * 3])), (), "no numbers"),
        ({"type": "FeatureCollection"}, (), "neither GeoJSON nor contours"),
        (3, (), "x, y and contour are wanted"),
    ],
)
def test_outlines_that_are_no_mask(tmp_path: Path, features: object, labels: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        drawn(tmp_path, features, *labels)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "opened",)  # type: ignore[return-value]

    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"tissue": Trap(), "holes": []}))
    with pytest.raises(ValueError, match="Python pickle, which can run code.*json.dump"):
        read_outlines(tmp_path / "s.pkl")
    assert not (tmp_path / "opened").exists()


def picture(path: Path, labels: np.ndarray, *wanted: str, **how: object) -> np.ndarray:
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, labels, **how)  # type: ignore[arg-type]
    else:
        Image.fromarray(labels).save(path)
    return draw(OwnMask(str(path), wanted or None), SIZE, SHAPE, SCALE).mask


@pytest.mark.parametrize("pixels", [10, 20, 5, 2.5, 40])
def test_pictures_of_labels_whatever_their_size(tmp_path: Path, pixels: float) -> None:
    across, down = round(SIZE[0] / pixels), round(SIZE[1] / pixels)
    labels = np.zeros((down, across), np.uint8)
    labels[round(200 / pixels) : round(400 / pixels), round(120 / pixels) : round(600 / pixels)] = 255
    for name in ("s.png", "s.tif"):
        assert np.array_equal(picture(tmp_path / name, labels), rectangle(20, 40, 12, 60))
    colours = np.repeat(labels[..., None], 3, 2)
    assert np.array_equal(picture(tmp_path / "rgb.png", colours), rectangle(20, 40, 12, 60))
    wide = labels.astype(np.uint16) * 4
    assert np.array_equal(picture(tmp_path / "wide.tif", wide), rectangle(20, 40, 12, 60))


def test_labels_are_chosen_and_never_guessed_among_several(tmp_path: Path) -> None:
    labels = np.full(SHAPE, 7, np.uint8)  # GrandQC's: 1 tissue, 7 background, the others artefacts
    labels[20:40, 12:60] = 1
    labels[20:30, 12:20] = 4
    assert np.array_equal(
        picture(tmp_path / "s.png", labels, "1"), rectangle(20, 40, 12, 60) & ~rectangle(20, 30, 12, 20)
    )
    assert np.array_equal(picture(tmp_path / "s.png", labels, "1", "4"), rectangle(20, 40, 12, 60))
    with pytest.raises(ValueError, match=r"has labels 7 \(88.0%\), 1 \(11.0%\), 4 \(1.0%\): say which"):
        picture(tmp_path / "s.png", labels)
    with pytest.raises(ValueError, match=r"marks no tissue: its labels are .*, wanted 3"):
        picture(tmp_path / "s.png", labels, "3")
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette([50, 50, 250] * 256)
    indexed.save(tmp_path / "p.png")
    assert draw(OwnMask(str(tmp_path / "p.png"), ("4",)), SIZE, SHAPE, SCALE).mask.sum() == 80


def test_a_pyramid_of_labels(tmp_path: Path) -> None:
    labels = np.zeros((800, 1000), np.uint8)
    labels[200:400, 120:600] = 1
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(labels, tile=(256, 256), subifds=1)
        file.write(labels[::2, ::2], tile=(256, 256), subfiletype=1)
    assert np.array_equal(draw(OwnMask(str(tmp_path / "s.tif")), SIZE, SHAPE, SCALE).mask, rectangle(20, 40, 12, 60))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.ones((100, 80), np.uint8), "80 x 100 pixels don't fit a slide of 1000 x 800: is it turned"),
        (np.ones((80, 60), np.uint8), "of another slide, or of a part"),
        (np.zeros((80, 100), np.uint8), "marks no tissue: its labels are 0"),
        (np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8), "a picture of colours"),
    ],
)
def test_pictures_that_are_no_mask(tmp_path: Path, labels: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=f"its tissue mask s.png: .*{reason}"):
        picture(tmp_path / "s.png", labels)


def test_files_that_are_no_mask(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a JPEG, which blurs labels"):
        picture(tmp_path / "s.jpg", np.ones((80, 100), np.uint8))
    for name, content, reason in (
        ("s.png", b"nothing", "no picture that can be read"),
        ("s.tif", b"II*\0 and nothing", "no picture that can be read"),
        ("s.json", b'{"type": ', "no whole JSON"),
        ("s.geojson", b"\xff\xfe\x00", "no text"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            draw(OwnMask(str(tmp_path / name)), SIZE, SHAPE, SCALE)
    with pytest.raises(ValueError, match="is not there"):
        draw(OwnMask(str(tmp_path / "gone.geojson")), SIZE, SHAPE, SCALE)


def test_the_mask_of_a_slide_is_known_by_its_name(tmp_path: Path) -> None:
    folder, lines = tmp_path / "masks", []
    (folder / "deep").mkdir(parents=True)
    names = ("S.svs_MASK.png", "deep/T.geojson", "S.2_tissue.json", "U.png", "U_mask.tif", "notes.md", "S.tiff")
    for name in names:
        (folder / name).touch()
    slides = [f"/x/{name}" for name in ("S.svs", "T.ome.tiff", "S.2.svs", "U.svs", "V.svs")] + [str(folder / "S.tiff")]
    masks = masks_of({"tissue": folder, "tissue_labels": 1}, slides, None, lines.append)
    assert masks is not None
    assert [Path(mask.file).name if mask else None for mask in masks[:3]] == [
        "S.svs_MASK.png", "T.geojson", "S.2_tissue.json"
    ]  # fmt: skip
    assert "several files may be its tissue mask: U.png, U_mask.tif" in masks[3].fault and masks[3].labels == ("1",)
    assert masks[4:] == [None, None] and "2 of 6 slides (V.svs, ...) have no tissue mask" in lines[0]
    named = masks_of({}, slides, ["", "/m/t.csv", *[""] * 4], lines.append)
    assert named is not None and named[1] == OwnMask("/m/t.csv") and named.count(None) == 5
    strict = masks_of({"tissue": folder, "tissue_missing": "error"}, slides, None, lines.append)
    assert strict is not None and "has no tissue mask" in strict[4].fault
    assert masks_of({}, slides, None, lines.append) is None
    with pytest.raises(UsageError, match="no mask that bears the name of one of 1 slides"):
        masks_of({"tissue": folder}, ["/x/other.svs"], None, lines.append)
    with pytest.raises(UsageError, match="is no folder"):
        masks_of({"tissue": folder / "gone"}, slides, None, lines.append)


def test_a_mask_of_a_name_that_several_slides_bear_is_nobodys(tmp_path: Path) -> None:
    for name in ("S.json", "b/T.json", "c/T.json", "case7.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    slides = ["/x/a/S.svs", "/x/b/S.svs", "/x/b/T.svs", "/x/c/T.svs", "/x/case7/0001.dcm"]
    masks = masks_of({"tissue": tmp_path}, slides, None, lambda line: None)
    assert masks is not None and all(mask is not None for mask in masks)
    assert [bool(mask.fault) for mask in masks if mask] == [True, True, False, False, False]
    assert "2 slides bear the name of S.json (/x/a/S.svs, /x/b/S.svs, ...)" in masks[0].fault  # type: ignore[union-attr]
    ends = [Path(mask.file).relative_to(tmp_path).as_posix() for mask in masks[2:] if mask]
    assert ends == ["b/T.json", "c/T.json", "case7.json"]
    again = masks_of({"tissue": tmp_path}, ["/x/a/S.svs", "/x/a/S.svs"], None, lambda line: None)
    assert again is not None and not any(mask.fault for mask in again if mask)  # one slide in two rows


def test_bags_hold_the_tiles_of_the_mask_and_follow_it(tmp_path: Path) -> None:
    pixels = np.full((512, 512, 3), 244, np.uint8)
    pixels[64:448, 64:448] = (190, 100, 160)
    slide = str(flat_slide(tmp_path / "s.tiff", pixels, resolution=(10000, 10000), resolutionunit="CENTIMETER"))
    mask, lines = tmp_path / "s.geojson", []
    tiling, bags = Tiling(px=64, mpp=1.0), tmp_path / "bags"

    def made(right: int | None, masks: bool = True) -> tuple[set[tuple[int, ...]], list[str]]:
        lines.clear()
        own = None
        if right:
            ring = [[0, 64], [right, 64], [right, 192], [0, 192]]
            mask.write_text(json.dumps(collection(polygon([ring]))))
            own = OwnMask(str(mask))
        given = Given(masks=[own]) if masks else Given()
        (bagged,) = Embedder(tiling, Constant(), bags, report=lines.append).ensure([slide], given=given)
        assert not bagged.error, bagged.error
        with h5py.File(bags / bagged.bag) as file:
            return {tuple(corner) for corner in file["coords"][()].tolist()}, list(lines)

    whole, _ = made(None, masks=False)
    assert len(whole) == 36
    tiles, told = made(256)
    assert tiles == {(x, y) for x in (0, 64, 128, 192) for y in (64, 128)}
    assert any("another tissue mask than before" in line for line in told)
    assert any("what their own masks call Tissue" in line for line in told)
    assert any("outside their masks is left out (up to 4" in line for line in told)
    assert made(256) == (tiles, told[1:])  # it is there
    assert len(made(128)[0]) == 4
    again, told = made(None, masks=False)
    assert len(again) == 4 and "was made with tissue mask of its own" in told[0]
    assert made(None)[0] == whole  # where others have masks, and this one has none any more
    with pytest.raises(ValueError, match="its tissue mask"):
        survey(slide, Tiling(px=64, mpp=1.0, mask=OwnMask(str(tmp_path / "gone.png"))))

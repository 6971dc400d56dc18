"""What a case is: equal however it is packed, different where anything that is seen differs."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import RLELossless

from medtrain.io.content import (
    first_with_same,
    from_bytes,
    of_features,
    of_labels,
    of_pixels,
    of_several,
    of_voxels,
    to_bytes,
)
from medtrain.io.image import read_identified
from medtrain.io.image_form import ImageForm
from medtrain.io.slide_content import slide_content, slide_contents
from medtrain.io.store.files import as_numbers
from medtrain.io.store.pixels import cache_images
from medtrain.io.store.voxels import VolumeForm, cache_volumes
from medtrain.io.volume_source import read_volume
from tests import dicom_files
from tests.slide_files import slide_file
from tests.volumes import save_series

FORM = ImageForm((16, 16))
DRAW = np.random.default_rng(0)


def content(path: Path, form: ImageForm = FORM) -> str:
    return read_identified(path, form)[1]


def saved(pixels: np.ndarray, path: Path, **how: object) -> Path:
    Image.fromarray(pixels).save(path, **how)  # type: ignore[arg-type]
    return path


def test_a_picture_is_its_pixels_at_their_depth(tmp_path: Path) -> None:
    grey = DRAW.integers(0, 256, (40, 30)).astype(np.uint8)
    one = content(saved(grey, tmp_path / "a.png"))
    assert one == of_pixels(grey) and one.startswith("p1:") and len(one) == 35
    assert content(saved(grey, tmp_path / "a.bmp")) == content(saved(grey, tmp_path / "a.tif")) == one
    assert content(saved(grey, tmp_path / "b.png", compress_level=0, dpi=(300, 300))) == one
    assert content(saved(np.stack([grey] * 3, -1), tmp_path / "c.png")) == one  # grey, written as a colour
    assert content(saved(grey, tmp_path / "a.jpg", quality=95)) != one
    deep = saved(grey.astype(np.uint16), tmp_path / "deep.png")
    assert content(deep) != one and content(deep) == of_pixels(grey.astype(">u2"))
    for other in (grey.T, grey[:, :-1], np.where(grey == grey[3, 4], grey ^ 1, grey)):
        assert of_pixels(np.ascontiguousarray(other)) != one


def test_it_is_the_same_at_every_working_size(tmp_path: Path) -> None:
    """Also of a JPEG, of which a small working size decodes only a part, and upright by EXIF."""
    pixels = np.asarray(Image.fromarray(DRAW.integers(0, 256, (9, 9, 3)).astype(np.uint8)).resize((640, 480)))
    jpeg = saved(pixels, tmp_path / "a.jpg", quality=90)
    forms = [FORM, ImageForm((512, 512), 3), ImageForm((8, 8), fit="crop", window=(10, 90))]
    assert len({content(jpeg, form) for form in forms}) == 1
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(np.rot90(pixels), tmp_path / "turned.png", exif=exif)
    assert content(turned) == of_pixels(np.ascontiguousarray(pixels))


def test_dicom_before_any_window(tmp_path: Path) -> None:
    stored = DRAW.integers(0, 4096, (20, 24)).astype(np.uint16)
    one = content(dicom_files.write(tmp_path / "a.dcm", stored, PatientID="x"))
    other = dicom_files.write(tmp_path / "b.dcm", stored, PatientID="y", WindowCenter=40, WindowWidth=80)
    assert content(other) == one == content(saved(stored, tmp_path / "a.png"))
    inverted = dicom_files.write(tmp_path / "c.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    assert content(inverted) == one
    assert RLELossless != content(inverted)


def test_a_volume_is_its_values_and_spacing_however_it_is_stored(tmp_path: Path) -> None:
    voxels = DRAW.normal(100, 10, (12, 10, 8)).astype(np.float32)
    affine = np.array([[0.7031, 0, 0, -177.6485], [0, 0.7031, 0, 93.125], [0, 0, 2.5, -401.0005], [0, 0, 0, 1]])
    image = nib.Nifti1Image(voxels, affine)
    nib.save(image, tmp_path / "a.nii.gz")
    nib.save(image, tmp_path / "b.nii")
    for n, signs in enumerate(([-1, -1, 1], [1, -1, -1])):
        nib.save(image.as_reoriented(nib.io_orientation(np.diag([*signs, 1.0]))), tmp_path / f"turned{n}.nii.gz")
    swapped = image.as_reoriented(np.array([[1, 1], [2, -1], [0, 1]]))
    nib.save(swapped, tmp_path / "swapped.nii")
    nib.save(nib.Nifti2Image(voxels.astype(np.float64), affine), tmp_path / "double.nii")
    nib.save(nib.Nifti1Image(voxels, affine + np.eye(4, k=3) * 1e-3), tmp_path / "rounded.nii")
    nib.save(nib.MGHImage(voxels, affine.astype(np.float32)), tmp_path / "surfer.mgz")
    same = ["a.nii.gz", "b.nii", "turned0.nii.gz", "turned1.nii.gz", "swapped.nii", "double.nii", "rounded.nii"]
    nib.save(nib.Nifti1Image(voxels, affine + np.diag([0, 0, 0.1, 0])), tmp_path / "spacing.nii")
    order = np.argsort(voxels, axis=None)
    voxels.ravel()[order[40:42]] = voxels.ravel()[order[41:39:-1]]
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "voxel.nii")
    nib.save(nib.Nifti1Image(np.ascontiguousarray(voxels[::-1]), affine), tmp_path / "mirrored.nii")
    files = [*same, "spacing.nii", "surfer.mgz", "voxel.nii", "mirrored.nii"]
    expected = [of_voxels(read_volume(tmp_path / name).x_CDHW) for name in files]
    assert len(set(expected[:9])) == 1 and len(set(expected[8:])) == 3 and expected[0].startswith("v3:")
    for form in (VolumeForm(), VolumeForm((2.0, 2.0, 2.0)), VolumeForm(window=(90.0, 110.0))):
        for decoded in (11, 0):  # resampled or not, and again from the cache
            cache = cache_volumes([tmp_path / name for name in files], form, tmp_path / "cache")
            assert cache.identities == expected and cache.decoded == decoded
            assert cache.content.tolist() == [0] * 9 + [9, 10]


def test_whole_numbers_are_equal_whatever_type_stores_them(tmp_path: Path) -> None:
    hu = DRAW.integers(-1024, 3000, (6, 5, 4)).astype(np.int16)
    series = save_series(tmp_path / "ct", hu, (2.4999998, 0.703125, 0.703125))
    one = read_volume(series)
    for n, kind in enumerate((np.int16, np.int32, np.float32, np.float64, ">i2")):
        # as a converter writes it: rows from below, and an affine of 32 bits
        image = nib.Nifti1Image(one.x_CDHW[0].T.astype(kind), one.affine.astype(np.float32))
        image.header.set_sform(one.affine.astype(np.float32))
        nib.save(image.as_reoriented(np.array([[0, -1], [1, 1], [2, 1]])), tmp_path / f"{n}.nii.gz")
    scaled = nib.Nifti1Image((one.x_CDHW[0].T.astype(np.float64) + 1024) / 4, one.affine)
    scaled.set_data_dtype(np.int16)
    nib.save(scaled, tmp_path / "quarters.nii")
    again = nib.Nifti1Image(np.asarray(nib.load(tmp_path / "quarters.nii").get_fdata(), np.float32), one.affine)
    nib.save(again, tmp_path / "floats.nii")
    cache = cache_volumes([series, *(tmp_path / f"{n}.nii.gz" for n in range(5))], VolumeForm(), tmp_path / "cache")
    assert cache.content.tolist() == [0] * 6 and not cache.problems
    pair = cache_volumes([tmp_path / "quarters.nii", tmp_path / "floats.nii"], VolumeForm(), tmp_path / "cache")
    assert pair.identities[0] == pair.identities[1] == cache.identities[0]  # the same picture, by another scale


def test_the_order_of_grey_levels_is_what_counts() -> None:
    """Whatever type and scale they have: slopes of 32 bits, negative values, a value far off, big-endian bytes."""
    whole = DRAW.integers(-1024, 3000, (2, 5, 6, 7))
    one = of_voxels(whole)
    assert one == of_voxels(np.unique(whole, return_inverse=True)[1].reshape(whole.shape).astype(np.uint16))
    for kind in (np.int16, ">i2", np.int32, np.int64, np.float32, np.float64, ">f4"):
        assert of_voxels(whole.astype(kind)) == one
    assert of_voxels((whole + 1024).astype(np.uint64) + np.uint64(2**63)) == one
    assert of_voxels(whole * np.float32(0.37) - np.float32(12.5)) == of_voxels(whole * 0.37 - 12.5) == one
    far = np.where(whole == whole.max(), 10**9, whole)
    for kind in (np.int32, np.float64):
        assert of_voxels(far.astype(kind)) == one  # without a table of so many entries
    assert of_voxels(far * 1e-3) == one
    other = whole.copy()
    other[0, 0, 0, 0] += 1000
    assert of_voxels(other) != one != of_voxels(whole.reshape(2, 5, 7, 6)) != of_voxels(-whole)


def test_of_too_many_grey_levels_the_values_count() -> None:
    x = DRAW.permutation(70_000).reshape(1, 70, 50, 20)
    assert of_voxels(x) == of_voxels(x.astype(np.float32)) == of_voxels(x.astype(np.float64)) != of_voxels(x + 1)
    assert of_voxels(x / 7) == of_voxels((x / 7).astype(np.float32)) != of_voxels(x)
    fits = x[:, :46]
    assert of_voxels(fits) == of_voxels(fits + 1)
    assert of_labels(fits % 3) != of_labels(fits % 3 + 1)
    assert of_labels(fits % 3) == of_labels((fits % 3).astype(np.uint8))


def test_a_bag_is_its_features_in_any_order() -> None:
    x = DRAW.normal(size=(50, 8)).astype(np.float16)
    one = of_features(x)
    assert of_features(x[::-1]) == of_features(np.asfortranarray(x)) == of_features(x.astype(">f2")) == one
    assert of_features(np.concatenate([x, x[:1]])) != one != of_features(x.astype(np.float32))
    assert of_features(x[:0]) != one


def test_several_and_none() -> None:
    assert of_several(["f1:a"]) == "f1:a" and of_several(["f1:a", ""]) == ""
    assert of_several(["f1:a", "f1:b"]).startswith("c1:") and of_several(["f1:b", "f1:a"]) != of_several(
        ["f1:a", "f1:b"]
    )
    assert first_with_same(["x", "", "y", "x", ""]).tolist() == [0, 1, 2, 0, 4] and not len(first_with_same([]))
    kept = of_pixels(np.zeros((2, 2), np.uint8))
    assert from_bytes("p1", as_numbers([to_bytes(kept), bytes(16)]), np.array([True, False])) == [kept, ""]


def test_a_second_start_knows_it_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [saved(DRAW.integers(0, 256, (9, 9)).astype(np.uint8), tmp_path / f"{n}.png") for n in range(5)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    first = cache_images([*paths, tmp_path / "bad.png"], FORM, tmp_path / "cache")
    monkeypatch.setattr("medtrain.io.store.pixels.read_identified", None)
    again = cache_images([*paths, tmp_path / "bad.png"], FORM, tmp_path / "cache")
    assert again.identities == first.identities == [*(content(path) for path in paths), ""]


def test_a_slide_is_what_openslide_says_or_its_lowest_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = slide_file(tmp_path / "a.tiff"), slide_file(tmp_path / "b.tiff", seed=1)
    copy = tmp_path / "another name.tif"
    copy.write_bytes(one.read_bytes())
    (tmp_path / "c.svs").write_bytes(b"no slide")
    paths = [str(path) for path in (one, other, copy, tmp_path / "c.svs", tmp_path / "gone.svs")]
    found = slide_contents(paths, tmp_path / "cache")
    assert found[0] == found[2] != found[1] and found[3:] == ["", ""]
    assert all(content.startswith("s1:") and len(content) == 35 for content in found[:3])
    monkeypatch.setattr("medtrain.io.slide_content.QUICKHASH", "left out")
    lowest = [slide_content(Path(path)) for path in paths]
    assert lowest[0] == lowest[2] != lowest[1] and lowest[0] != found[0] and lowest[3] == ""
    monkeypatch.setattr("medtrain.io.slide_content.PIECE", 16)  # a large level, of which only some pieces are read
    assert slide_content(one) == slide_content(copy) != slide_content(other)
    monkeypatch.setattr("medtrain.io.slide_content.slide_content", None)
    assert slide_contents(paths[:3], tmp_path / "cache") == found[:3]  # remembered

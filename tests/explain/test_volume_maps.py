"""Maps of volumes: by the formula, put together voxel by voxel, and on the source file where the lesion is."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from medtrain.explain import attention, grad_cam, peak, sanity_check, stitched, three_planes
from medtrain.explain.features import last_features
from medtrain.explain.volumes import plane
from medtrain.io.nifti import read_nifti
from medtrain.io.nifti_map import grid_of_file, onto_grid, write_map
from medtrain.io.resample import to_spacing
from medtrain.model import Ensemble, densenet121_3d, resnet10_3d, score_instances
from medtrain.target import DataSpec

PATCH = DataSpec.of("binary", ("no", "yes"), 1, (33, 33, 17))


def small():
    torch.manual_seed(0)
    layers = [nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 6, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 1)).eval()


def test_grad_cam_is_the_weighted_sum_of_features():
    """With a mean and a linear head, the gradient of the logit by feature c is w_c / (d h w)."""
    network, x = small(), torch.rand(2, 1, 8, 12, 10)
    features = network[:5](x)
    weight = torch.cat([-network[7].weight, network[7].weight])[torch.tensor([0, 1])]
    expected = torch.einsum("bcdhw,bc->bdhw", features, weight).relu() / features[0, 0].numel()
    torch.testing.assert_close(grad_cam(network, x, torch.tensor([0, 1])), expected)
    both = grad_cam(Ensemble([network, network]), x, torch.tensor([0, 1]))
    torch.testing.assert_close(both, expected / expected.amax((1, 2, 3), keepdim=True).clamp(min=1e-12))


@pytest.mark.parametrize("build", [resnet10_3d, densenet121_3d])
def test_the_last_feature_map_of_our_networks(build):
    more = {"width": 8} if build is resnet10_3d else {}
    network = score_instances(build(PATCH, attention=True, norm="group", stem="standard", **more)).eval()
    x, yes = torch.rand(1, 1, 33, 33, 33), torch.tensor([1])
    name = "layer4" if build is resnet10_3d else "features.relu5"
    assert last_features(network, x, network).layer is network.get_submodule(name)
    if build is resnet10_3d:
        for method in (grad_cam, attention):
            assert method(network, x, yes).shape == (1, 2, 2, 2)
        assert set(sanity_check(network, grad_cam, x, yes)) == {"spearman", "images", "limit", "passed"}


def test_maps_are_put_together_as_means_of_what_overlaps():
    maps = [
        ((0, 0, -1), np.full((1, 1, 1), 2.0)),
        ((0, 0, 2), np.full((2, 2, 2), 4.0)),
        ((1, 0, 2), np.ones((2, 2, 2))),
    ]
    whole = stitched(maps, (2, 2, 4), (3, 2, 8))
    expected = np.zeros((3, 2, 8))
    expected[:2, :, :3] = 2
    expected[:2, :, 2:6] = 4
    expected[0, :, 2], expected[1, :, 2] = 3, (2 + 4 + 1) / 3
    expected[1, :, 3:6], expected[2, :, 2:6] = 2.5, 1
    np.testing.assert_allclose(whole, expected)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSL"])
def test_a_map_lies_on_the_source_file_where_the_lesion_is(tmp_path, codes):
    """A bright ball in a file of any orientation and spacing: the map of a resampled copy peaks on it again."""
    values, lesion = np.zeros((20, 26, 14), np.float32), (13, 7, 9)
    values[lesion] = 1
    values = (gaussian_filter(values, (2.4, 2.0, 1.2)) * 1e4).astype(np.int16)
    affine = nib.affines.from_matvec(np.diag([1.0, 1.2, 2.0]), [-30, 12, 5])
    image = nib.Nifti1Image(values, affine)
    ornt = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    image = image.as_reoriented(ornt)
    nib.save(image, tmp_path / "source.nii.gz")
    seen = to_spacing(read_nifti(tmp_path / "source.nii.gz"), (1.5, 1.5, 1.5))
    grid = grid_of_file(tmp_path / "source.nii.gz")
    write_map(tmp_path / "map.nii.gz", onto_grid(seen.x_CDHW[0].astype(np.float32), seen.affine, grid), grid)
    written = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(written.affine, image.affine)
    assert written.shape == image.shape and written.get_data_dtype() == np.float32
    heat, source = written.get_fdata(), image.get_fdata()
    assert np.corrcoef(heat.ravel(), source.ravel())[0, 1] > 0.97
    at = np.unravel_index(source.argmax(), source.shape)
    assert np.abs(np.array(np.unravel_index(heat.argmax(), heat.shape)) - at).max() <= 1
    share = peak(seen.x_CDHW[0])
    index = [int(s * n) for s, n in zip(share, seen.x_CDHW.shape[1:], strict=True)]
    mm = (seen.affine @ [*index[::-1], 1])[:3]
    np.testing.assert_allclose(mm, affine[:3] @ [*lesion, 1], atol=1.3)
    assert np.abs(np.array(grid.voxel(mm)) - at).max() <= 1


def test_planes_stand_as_radiologists_look_at_them():
    x = np.zeros((4, 5, 6))
    x[3, 4, 5] = 1  # head, front, right
    for axis, number in ((0, 3), (1, 4), (2, 5)):
        seen = plane(x, axis, number)
        assert seen[0, 0] == 1 and seen.shape == tuple(n for i, n in enumerate(x.shape) if i != axis)


def test_the_heat_is_painted_where_it_is():
    shown, heat = np.full((8, 10, 12), 0.5, np.float32), np.zeros((8, 10, 12), np.float32)
    heat[6, 2, 3] = 2.0
    figure = three_planes(shown, heat, (6, 2, 3), (3.0, 1.0, 1.0), r"a $ and \ in a name", "scale")
    places = [(10 - 1 - 2, 12 - 1 - 3), (8 - 1 - 6, 12 - 1 - 3), (8 - 1 - 6, 10 - 1 - 2)]
    for number, place in enumerate(places):
        painted = figure.axes[3 + number].images[1].get_array()
        assert np.unravel_index(int(painted.argmax()), painted.shape) == place
        cross = figure.axes[number].lines[0].get_xydata()[0]
        assert tuple(cross[::-1]) == place
    aspects = [figure.axes[n].get_aspect() for n in range(3)]
    assert aspects == [1.0, 3.0, 3.0]
    figure.canvas.draw()


def test_overlaps_cover_all_of_a_grid():
    starts = list(itertools.product((0, 2), (0, 3), (0,)))
    assert (stitched([(s, np.ones((2, 2, 2))) for s in starts], (3, 4, 5), (5, 7, 5)) == 1).all()

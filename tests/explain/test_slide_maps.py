"""Heatmaps and lesions of slides against hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import torch
from scipy.ndimage import label

from medtrain.core.segments import Packed
from medtrain.explain.bags import attention, contribution, instance_scores, methods
from medtrain.explain.heatmap import painted, ranks
from medtrain.explain.regions import lesions
from medtrain.io.geojson import union_polygons
from medtrain.metric import tile_auroc
from medtrain.model import Ensemble, gated_attention_mil, max_mil
from medtrain.target import DataSpec

BAG = Packed(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 7]))


def test_ranks_show_every_tile_whatever_the_values() -> None:
    assert ranks(np.array([1e-4, 0.9, 2e-4])).tolist() == pytest.approx([1 / 3, 1, 2 / 3])
    assert ranks(np.array([-1.0, 5.0, 0.0, -3.0])).tolist() == pytest.approx([-0.5, 1, 0, -1])


def test_tiles_are_painted_at_their_true_place_and_size() -> None:
    heat = painted(np.array([1.0, 2.0]), np.array([[0.0, 0.0], [4.0, 2.0]]), 2.0, (5, 6))
    expected = np.full((5, 6), np.nan)
    expected[0:2, 0:2], expected[2:4, 4:6] = 1, 2
    np.testing.assert_array_equal(heat, expected)


def test_tiles_smaller_than_a_pixel_are_seen() -> None:
    assert np.nansum(painted(np.array([1.0]), np.array([[2.2, 1.1]]), 0.3, (4, 4))) == 1


def test_lesions_are_touching_tiles_above_the_threshold() -> None:
    coords = np.array([[x * 256.0 + 512, y * 256.0] for y in range(4) for x in range(4)])
    scores = np.zeros(16)
    scores[[0, 5, 3, 7]] = [0.6, 0.9, 0.7, 0.5]  # a diagonal pair, and two below each other
    scores[10] = 0.45
    high, low = lesions(scores, coords, 256.0, 0.5, edge_um=128.0)
    assert (sorted(high.tiles), high.score, high.mean) == ([0, 5], 0.9, pytest.approx(0.75))
    assert high.corner == (512, 0) and high.area == pytest.approx(2 * 0.128**2)
    assert sorted(low.tiles) == [3, 7] and low.size == (256, 512)
    assert lesions(scores, coords, 256.0, 0.95) == []


def boxes(corners: list[tuple[float, float]], edge: float) -> np.ndarray:
    return np.array([(x, y, x + edge, y + edge) for x, y in corners], float)


def cells(mask: np.ndarray, edge: float = 1.0) -> np.ndarray:
    return boxes([(x * edge, y * edge) for y, x in np.argwhere(mask)], edge)


def test_outlines_of_tiles_are_exact() -> None:
    ((outline,),) = union_polygons(cells(np.ones((1, 2), bool), 10.0))
    assert len(outline) == 5 and {tuple(point) for point in outline} == {(0, 0), (20, 0), (20, 10), (0, 10)}
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    ((outer, hole),) = union_polygons(cells(ring))
    assert len(outer) == len(hole) == 5
    assert {tuple(point) for point in hole} == {(1, 1), (2, 1), (2, 2), (1, 2)}


def test_outlines_are_valid_and_have_the_tiles_area_whatever_the_shape() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        mask = draw.random((6, 7)) < 0.6
        polygons = [shapely.Polygon(rings[0], rings[1:]) for rings in union_polygons(cells(mask))]
        assert all(polygon.is_valid for polygon in polygons)  # none crosses itself where tiles meet at a corner
        assert len(polygons) == label(mask)[1]
        assert sum(polygon.area for polygon in polygons) == mask.sum()


def test_a_ring_closed_by_a_corner_is_valid() -> None:
    mask = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
    ((outer, hole),) = union_polygons(cells(mask))
    assert shapely.Polygon(outer, [hole]).is_valid and shapely.Polygon(outer, [hole]).area == 7


@pytest.mark.parametrize("step", [64, 128, 192, 256])
@pytest.mark.parametrize("hot", [0, 27, 63])
def test_one_hot_tile_is_one_region_however_tiles_overlap(step: int, hot: int) -> None:
    coords = np.array([[x * step, y * step] for y in range(8) for x in range(8)], float)
    scores = np.zeros(64)
    scores[hot] = 0.9
    (region,) = lesions(scores, coords, 256.0, 0.5, edge_um=128.0)
    assert region.tiles.tolist() == [hot] and region.corner == tuple(coords[hot]) and region.size == (256, 256)
    assert region.area == pytest.approx(0.128**2)


def test_what_overlapping_tiles_cover_counts_once() -> None:
    coords = np.array([[0, 0], [128, 0], [256, 0], [1000, 0]], float)
    first, second = lesions(np.array([0.9, 0.8, 0.7, 0.6]), coords, 256.0, 0.5, edge_um=256.0)
    assert first.size == (512, 256) and first.area == pytest.approx(2 * 0.256**2)
    assert second.tiles.tolist() == [3]


def test_pieces_of_tissue_with_grids_of_their_own_keep_their_places() -> None:
    one = [(1984 + 512 * k, 3264) for k in range(3)]
    two = [(9040 + 512 * k, 3312) for k in range(3)]
    regions = lesions(np.array([0, 0.9, 0.8, 0, 0.7, 0]), np.array(one + two, float), 512.0, 0.5)
    assert [(region.corner, region.size) for region in regions] == [
        ((2496, 3264), (1024, 512)),
        ((9552, 3312), (512, 512)),
    ]


def test_neighbours_whose_places_were_rounded_are_one_region() -> None:
    edge = 511.7
    coords = np.rint(np.array([[x * edge, y * edge] for y in range(9) for x in range(9)]))
    (region,) = lesions(np.ones(81), coords, edge, 0.5, edge_um=250.0)
    assert len(region.polygons) == 1 and len(region.polygons[0]) == 1
    assert region.area == pytest.approx(81 * 0.25**2, rel=0.01)


def test_a_heatmap_has_the_mean_where_tiles_overlap() -> None:
    heat = painted(np.array([1.0, 0.0]), np.array([[0.0, 0.0], [1.0, 0.0]]), 2.0, (2, 3))
    np.testing.assert_array_equal(heat, [[1, 0.5, 0], [1, 0.5, 0]])


def test_contributions_sum_to_the_logit_of_an_ensembles_mean() -> None:
    spec = DataSpec.of("multiclass", ("a", "b", "c"), 5)
    network = Ensemble([gated_attention_mil(spec).eval(), gated_attention_mil(spec).eval()])
    for number in range(3):
        found = contribution(network, BAG, torch.tensor([number]))
        torch.testing.assert_close(found.sum(), network(BAG)[0, :, number].mean().detach())
    assert attention(network, BAG, torch.tensor([0])).sum().item() == pytest.approx(1)


def test_scores_with_and_without_attention() -> None:
    spec = DataSpec.of("binary", ("0", "1"), 5)
    with_attention = instance_scores(gated_attention_mil(spec).eval(), BAG, torch.tensor([1]), 0.8)
    assert with_attention.max().item() == pytest.approx(0.8)
    network = max_mil(spec).eval()
    found = instance_scores(network, BAG, torch.tensor([1]), 0.8)
    alone = torch.cat([network(Packed(BAG.x[n : n + 1], torch.tensor([0, 1]))) for n in range(7)])
    torch.testing.assert_close(found, alone[:, 0].sigmoid().detach())
    assert methods(network, "all") == ["contribution"]


def test_tile_auroc_is_within_slides_and_leaves_out_what_nobody_knows() -> None:
    relevance = [np.array([0.1, 0.9, 0.5]), np.array([0.0, 0.2]), np.array([0.5, 0.4, 0.3, 0.9])]
    tumour = [np.array([0, 1, 0.0]), np.array([0, 0.0]), np.array([1, 0, 1, np.nan])]
    found = tile_auroc(relevance, tumour, ["p", "q", "r"], 100)
    assert found["value"] == pytest.approx((1 + 0.5) / 2) and found["slides"] == 2
    assert found["ci95"][0] <= 0.75 <= found["ci95"][1]
    assert tile_auroc(relevance[1:2], tumour[1:2], ["q"], 100) == {"value": None, "ci95": None, "slides": 0}

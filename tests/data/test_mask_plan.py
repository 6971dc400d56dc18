"""The plan of a segmentation, from fingerprints whose plan follows by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medtrain.augment import AugmentMasks, mirrored_axes
from medtrain.core.errors import UsageError
from medtrain.data.batches.mask_facts import MaskFacts
from medtrain.data.batches.mask_fingerprint import directed_axes
from medtrain.data.batches.mask_plan import Fingerprint, divisors, kept_bytes, plan, strides_of
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

HIPPOCAMPUS = Fingerprint(np.tile([[36, 50, 35]], (208, 1)), np.ones((208, 3)))
LIVER = Fingerprint(
    np.tile([[100, 512, 512]], (100, 1)),
    np.repeat([[5.0, 0.8, 0.8], [2.5, 0.8, 0.8]], (80, 20), axis=0),
    np.array([[-80.0, 220.0, 60.0, 50.0]]),
    hounsfield=True,
)


def test_small_cases_are_taken_whole() -> None:
    made = plan(HIPPOCAMPUS, {})
    assert made.spacing == (1.0, 1.0, 1.0) and made.intensity == ()
    assert made.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 1))  # 9, 6.25 and 8.75 voxels in the last stage
    assert made.patch_size == (36, 56, 36)
    assert made.visits == 2 and made.batch_size == 2 * 208 // 100


def test_thick_slices_get_their_tenth_percentile_and_their_own_strides() -> None:
    made = plan(LIVER, {})
    assert made.spacing == (2.5, 0.8, 0.8)
    assert made.strides[1] == (1, 2, 2) and made.strides[2] == (2, 2, 2)  # 0.8 to 1.6 mm, then 2.5 is no longer thick
    assert made.intensity == ((-80.0, 220.0, 60.0, 50.0),)
    assert 2 * kept_bytes(made.patch_size, made.strides) <= 8e9 < 2 * kept_bytes((128, 256, 256), made.strides)
    assert not any(n % d for n, d in zip(made.patch_size, divisors(made.strides), strict=True))
    assert "10th percentile" in made.text() and "ct" in made.text()


def test_what_is_kept_is_counted_stage_by_stage() -> None:
    assert kept_bytes((8, 8, 8), ((1, 1, 1), (2, 2, 2))) == 4 * 12 * (512 * 32 + 64 * 64)


def test_more_memory_gives_larger_patches_then_larger_batches() -> None:
    small, large = (plan(LIVER, {"memory_gb": gb}) for gb in (4, 16))
    assert np.prod(large.patch_size) > 2 * np.prod(small.patch_size) and small.batch_size == 2
    few = Fingerprint(np.tile([[36, 50, 35]], (20, 1)), np.ones((20, 3)))
    assert plan(few, {}).batch_size == 2 and plan(few, {}).visits == 13


def test_memory_is_counted_for_the_network_that_is_trained() -> None:
    strides = ((1, 1, 1), (2, 2, 2))
    assert kept_bytes((8, 8, 8), strides, 16) == kept_bytes((8, 8, 8), strides, 32) / 2
    narrow, wide = (plan(LIVER, {"features": features}) for features in (16, 32))
    assert wide.patch_size == plan(LIVER, {}).patch_size
    assert np.prod(narrow.patch_size) > 1.5 * np.prod(wide.patch_size)
    assert 2 * kept_bytes(narrow.patch_size, narrow.strides, 16) <= 8e9


def test_the_smallest_patches_have_two_stages() -> None:
    assert strides_of((8, 8, 8), (1.0, 1.0, 1.0)) == ((1, 1, 1), (2, 2, 2))
    assert strides_of((1, 9, 8), (1.0, 1.0, 1.0)) == ((1, 1, 1), (1, 2, 2))
    with pytest.raises(UsageError, match="two stages or more"):
        plan(LIVER, {"strides": [1], "patch_size": 8})


def test_batches_are_small_while_cases_are_few() -> None:
    sizes = [plan(Fingerprint(np.tile([[36, 50, 35]], (n, 1)), np.ones((n, 3))), {}) for n in (5, 156, 596, 4000)]
    assert [(made.visits, made.batch_size) for made in sizes] == [(16, 2), (2, 3), (1, 5), (1, 16)]
    assert "100 steps an epoch" in sizes[2].text() and "the largest that is planned" in sizes[3].text()


def test_keys_that_are_set_stand() -> None:
    keys = {"spacing": 2, "patch_size": [16, 24, 16], "strides": [1, [2, 2, 2]], "batch_size": 3, "modality": "ct"}
    made = plan(LIVER, keys | {"window": [-50, 250], "foreground_share": 0.5, "patches_per_volume": 4})
    assert (made.spacing, made.patch_size, made.batch_size, made.visits) == ((2, 2, 2), (16, 24, 16), 3, 4)
    assert made.strides == ((1, 1, 1), (2, 2, 2)) and made.intensity[0][:2] == (-50.0, 250.0)
    assert made.foreground_share == 0.5 and made.text().count("as set") == 6


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"patch_size": [30, 50, 35]}, "multiples of"),
        ({"strides": [2, 2]}, "first stage"),
        ({"strides": [1, [2, 2]]}, "one number of 1 to 4, or three"),
        ({"modality": "ct"}, "no training case marks anything"),
        ({"window": [0, 100]}, "set data.modality=ct"),
    ],
)
def test_keys_that_cannot_be_are_refused(keys: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan(HIPPOCAMPUS, keys)


def test_an_axis_is_shrunk_while_it_keeps_six_voxels() -> None:
    assert strides_of((6, 44, 44), (2, 0.7, 0.7)) == ((1, 1, 1), (1, 2, 2), (1, 2, 2))
    assert len(strides_of((128, 128, 128), (1, 1, 1))) == 5
    assert strides_of((4, 4, 4), (1, 1, 1)) == ((1, 1, 1), (2, 2, 2))


def facts_of(*middles: tuple[float, float, float], spread: float = 2.0) -> MaskFacts:
    """What a mask marks: two labels or one, 50 voxels of each around a middle."""
    draw = np.random.default_rng(0)
    points = [np.array(middle) + draw.normal(0, spread, (50, 3)) for middle in middles]
    labels, bounds = np.arange(1, len(middles) + 1), np.zeros((len(middles), 3), np.int64)
    of = np.repeat(np.arange(len(middles)), 50).astype(np.int32)
    return MaskFacts(labels, np.full(len(middles), 50), bounds, bounds, np.concatenate(points).astype(np.int32), of)


LABEL_OF = np.array([0, 1, 2, -1])


def test_head_and_tail_stand_in_one_order_along_the_axis_between_them() -> None:
    cases = [facts_of((20, 30, 10 + n % 3), (20, 14, 10)) for n in range(10)]
    assert directed_axes(cases, LABEL_OF) == (1,)
    turned = [facts_of((20, 14, 10), (20, 30, 10)) for _ in range(5)]
    assert directed_axes(cases[:5] + turned, LABEL_OF) == ()  # half of them the other way round
    assert directed_axes(cases[:4], LABEL_OF) == ()  # too few to tell
    assert directed_axes([facts_of((20, 30, 10))] * 10, LABEL_OF) == ()  # one label alone
    assert directed_axes(cases, np.array([0, 1, -1])) == ()  # the other says nothing


def test_a_tumour_within_an_organ_has_no_order() -> None:
    cases = [facts_of((20, 20, 20), (20, 22, 21), spread=6) for _ in range(10)]
    assert directed_axes(cases, LABEL_OF) == ()


def test_a_plan_says_what_is_not_mirrored() -> None:
    made = plan(replace(HIPPOCAMPUS, directed=(1,)), {})
    assert made.directed == (1,) and "augment.mirror_front_back" in made.text()
    assert "mirror" not in plan(HIPPOCAMPUS, {}).text()
    spec = DataSpec(MaskTarget(("a", "b")), 1, (4, 4, 4), directed=made.directed)
    assert AugmentMasks(spec).mirrors == (True, False, True)
    assert AugmentMasks(spec, mirror_front_back=True, mirror_left_right=False).mirrors == (True, True, False)
    assert mirrored_axes({"mirror_head_feet": None, "mirror_front_back": None}, spec.directed) == (0,)
    assert DataSpec.from_dict(spec.to_dict()) == spec

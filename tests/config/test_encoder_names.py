"""Encoders that users know by another name, and those that are not to be had."""

from __future__ import annotations

import pytest

from medtrain.config.compose import compose
from medtrain.config.features import NOT_OFFERED, by_another_name
from medtrain.config.search import option_files
from medtrain.core.errors import UsageError

OPTIONS = option_files()["encoder"]


@pytest.mark.parametrize(
    ("name", "here"),
    [
        *(("uni_v1", "uni"), ("UNI2-h", "uni2"), ("conch_v1", "conch"), ("Prov-GigaPath", "gigapath")),
        *(("hoptimus0", "h_optimus_0"), ("H-optimus-1", "h_optimus_1"), ("h0-mini", "h0_mini")),
        *(("kaiko-vitl14", "kaiko_l14"), ("lunit-vits8", "lunit_s8"), ("midnight12k", "midnight")),
        *(("phikon-v2", "phikon_v2"), ("hibou-L", "hibou_l"), ("RAD-DINO", "rad_dino"), ("BiomedCLIP", "biomedclip")),
    ],
)
def test_other_spellings_lead_to_ours(name: str, here: str) -> None:
    assert here in OPTIONS
    with pytest.raises(UsageError, match=f"encoder={name}: no such option; it is encoder={here} here"):
        compose(["task=wsi_mil", f"encoder={name}"])


@pytest.mark.parametrize("name", ["conch_v1_5", "conch_v15", "CONCHv1.5", "titan", "musk"])
def test_what_is_not_to_be_had_is_said_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match=f"encoder={name}: no such option; .*; make its features .*data=feature_bags"):
        compose(["task=wsi_mil", f"encoder={name}"])


def test_nothing_is_both_offered_and_not() -> None:
    assert not NOT_OFFERED.keys() & set(OPTIONS)
    assert by_another_name("resnet51", OPTIONS) is None

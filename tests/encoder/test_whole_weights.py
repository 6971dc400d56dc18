"""A frozen encoder takes a file whole or not at all: whatever is lacking, left over or of another shape is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm as timm_library
import torch
import torchvision as tv
from timm.layers import SwiGLUPacked
from torch import Tensor

from medtrain.core.errors import MedtrainError
from medtrain.encoder import timm, torchvision

VIT = "vit_tiny_patch16_224"
TILES = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
State = dict[str, Tensor]


def vit(**arguments: object) -> State:
    torch.manual_seed(0)
    return timm_library.create_model(VIT, **{"num_classes": 0, **arguments}).state_dict()


def without(*beginnings: str) -> Callable[[], State]:
    return lambda: {key: value for key, value in vit().items() if not key.startswith(beginnings)}


def only(beginning: str, cut: str = "") -> Callable[[], State]:
    return lambda: {key.removeprefix(cut): value for key, value in vit().items() if key.startswith(beginning)}


def beside(**more: Tensor) -> Callable[[], State]:
    return lambda: vit() | {key.replace("__", "."): value for key, value in more.items()}


WRONG = {
    "a patch embedding alone": (only("patch_embed"), "has 2 of its 150 tensors, 148 of its own are lacking"),
    "blocks alone, named as a part": (only("blocks.", "blocks."), "lacking"),
    "no last linear layer": (without("blocks.11.mlp.fc2"), r"2 of its own are lacking \(blocks.11.mlp.fc2.weight"),
    "no norm at the end": (without("norm."), r"2 of its own are lacking \(norm.weight, norm.bias\)"),
    "no position": (without("pos_embed"), r"1 of its own are lacking \(pos_embed\)"),
    "LayerScale": (lambda: vit(init_values=0.1), r"24 of the file's have no place in it \(blocks.0.ls1.gamma"),
    "registers": (lambda: vit(reg_tokens=4), r"1 of the file's have no place in it \(reg_token\)"),
    "a norm before": (lambda: vit(pre_norm=True), r"2 of the file's have no place in it \(norm_pre.weight"),
    "another norm": (lambda: vit(global_pool="avg"), r"fc_norm.weight"),
    "more blocks": (lambda: vit(depth=13), r"12 of the file's have no place in it \(blocks.12"),
    "another width": (lambda: vit(embed_dim=96, num_heads=3), "have another shape"),
    "grey": (lambda: vit(in_chans=1), r"1 have another shape \(patch_embed.proj.weight \[192, 1, 16, 16\]"),
    "a stranger's tensor": (beside(adapter__down=torch.zeros(3)), r"\(adapter.down\)"),
}


def split_qkv() -> State:
    """Spell queries, keys and values apart, as other libraries do."""
    state = vit()
    for key in [key for key in state if ".attn.qkv." in key]:
        parts = dict(zip("qkv", state.pop(key).chunk(3), strict=True))
        state |= {key.replace("qkv", name): value for name, value in parts.items()}
    return state


WRONG |= {
    "half a checkpoint": (without(*(f"blocks.{n}." for n in range(6, 12))), r"72 of its own are lacking \(blocks.6"),
    "fewer blocks": (lambda: vit(depth=6), r"72 of its own are lacking \(blocks.6"),
    "queries, keys and values apart": (
        split_qkv,
        r"24 of its own are lacking \(blocks.0.attn.qkv.weight.*72 of the file",
    ),
    "another grid of positions": (lambda: vit(img_size=384), r"1 have another shape \(pos_embed \[1, 577, 192\] for"),
    "other patches": (lambda: vit(patch_size=8), r"2 have another shape \(pos_embed .*patch_embed.proj.weight"),
    "a gated feed-forward": (lambda: vit(mlp_layer=SwiGLUPacked), "have another shape .*mlp.fc2.weight"),
    "no bias of queries, keys and values": (
        lambda: vit(qkv_bias=False),
        r"12 of its own are lacking \(blocks.0.attn.qkv.b",
    ),
    "no class token": (lambda: vit(class_token=False, global_pool="avg"), "cls_token"),
    "two networks in one": (
        lambda: vit() | {f"blocks.{n}.adapter.weight": torch.ones(2) for n in range(12)},
        "12 of the",
    ),
}
WRONG |= {
    "whole numbers": (
        lambda: {key: (value * 100).to(torch.int8) for key, value in vit().items()},
        r"cls_token is int8, .* \(150 in all\)",
    ),
    "a norm that is no number": (
        lambda: vit() | {"norm.weight": torch.full((192,), float("nan"))},
        "norm.weight has 192 of 192 values that are NaN or infinite",
    ),
}
LACKING = {  # what the network has and the file lacks
    "LayerScale": ({"init_values": 0.1}, r"24 of its own are lacking \(blocks.0.ls1.gamma"),
    "registers": ({"reg_tokens": 4}, r"reg_token"),
    "a gate": ({"mlp_layer": SwiGLUPacked}, "have another shape .*mlp.fc2.weight"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_the_network_has_beyond_the_file_is_refused_too(tmp_path: Path, case: str) -> None:
    arguments, message = LACKING[case]
    torch.save(vit(), tmp_path / "w.pt")
    with pytest.raises(MedtrainError, match=rf"encoder.weights=.*never learns.*{message}"):
        timm(VIT, str(tmp_path / "w.pt"), arguments=arguments)


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_whole_is_refused_in_numbers(tmp_path: Path, case: str) -> None:
    state, message = WRONG[case]
    torch.save(state(), tmp_path / "w.pt")
    with pytest.raises(MedtrainError, match=rf"encoder.weights=.*(never learns|can't be weights).*{message}"):
        timm(VIT, str(tmp_path / "w.pt"))


RIGHT = {
    "plain": (vit, "150 of 150 tensors loaded"),
    "with its classifier": (lambda: vit(num_classes=7), "150 of 150 tensors loaded; 2 of a classifier left out"),
    "wrapped by DDP": (lambda: {f"module.{key}": value for key, value in vit().items()}, "150 of 150 tensors loaded"),
    "under a deep prefix": (
        lambda: {f"state.teacher.backbone.module.{key}": value for key, value in vit().items()},
        "150 of 150 tensors loaded",
    ),
    "a mask token": (beside(mask_token=torch.zeros(1, 1, 192)), "150 of 150 tensors loaded"),
    "beside a loss": (
        lambda: {f"model.{key}": value for key, value in vit().items()} | {"loss.weight": torch.ones(3)},
        r"150 of 150 tensors loaded; 1 of the file are not of this network (loss.weight)",
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_fits_is_told_in_numbers(tmp_path: Path, case: str) -> None:
    state, told = RIGHT[case]
    torch.save(state(), tmp_path / "w.pt")
    encoder = timm(VIT, str(tmp_path / "w.pt"))
    assert encoder.loaded.startswith(told)
    reference = timm_library.create_model(VIT, num_classes=0).eval()
    given = {
        key.removeprefix("state.teacher.backbone.").removeprefix("module.").removeprefix("model."): value
        for key, value in state().items()
    }
    reference.load_state_dict({key: given[key] for key in reference.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(encoder(TILES), reference(encoder.preprocessing(TILES)), rtol=0, atol=1e-6)


def test_of_a_teacher_and_a_student_the_teacher_is_taken(tmp_path: Path) -> None:
    teacher, other = vit(), {key: torch.zeros_like(value) for key, value in vit().items()}
    heads = {"teacher.head.mlp.weight": torch.zeros(4), "student.head.mlp.weight": torch.zeros(4)}
    both = {f"student.backbone.{k}": v for k, v in other.items()} | {
        f"teacher.backbone.{k}": v for k, v in teacher.items()
    }
    torch.save(both | heads, tmp_path / "w.pt")
    encoder = timm(VIT, str(tmp_path / "w.pt"))
    assert all(torch.equal(value, teacher[key]) for key, value in encoder.network.state_dict().items())
    assert "152 of the file are not of this network" in encoder.loaded


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_b_16", "efficientnet_b0"])
def test_torchvision_networks_lose_their_last_layer_and_no_other(tmp_path: Path, name: str) -> None:
    state = tv.models.get_model(name, weights=None).state_dict()
    torch.save(state, tmp_path / "whole.pth")
    encoder = torchvision(name, str(tmp_path / "whole.pth"))
    assert "2 of a classifier left out" in encoder.loaded
    lost = [key for key in state if not key.endswith("num_batches_tracked")][3]
    torch.save({key: value for key, value in state.items() if key != lost}, tmp_path / "part.pth")
    with pytest.raises(MedtrainError, match=rf"1 of its own are lacking \({lost}\)"):
        torchvision(name, str(tmp_path / "part.pth"))

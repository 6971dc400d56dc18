"""DINOv2 with registers as Hibou and kaiko published it: in Meta's spelling, transformers' and timm's, offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.encoder.test_published import HALF, built, hugging_face, no_network, same, seen, shaken, version_4, vit

__all__ = ["no_network"]

HIBOU = (0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)
REGISTERS: dict[str, tuple[dict[str, Any], tuple]] = {
    "hibou_b": ({"image_size": 224, "use_swiglu_ffn": True}, (224, HIBOU, "bicubic")),
    "hibou_l": (
        {"image_size": 224, "use_swiglu_ffn": True, "hidden_size": 1024, "num_attention_heads": 16},
        (224, HIBOU, "bicubic"),
    ),
}


def as_meta(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spell transformers' Dinov2WithRegisters as Meta's DINOv2 does, and as Hibou and kaiko were published."""
    names = {"patch_embeddings.projection": "patch_embed.proj", "position_embeddings": "pos_embed", "embeddings.": ""}
    names |= {"encoder.layer.": "blocks.", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
    names |= {"attention.output.dense": "attn.proj", "weights_in": "w12", "weights_out": "w3", "layernorm.": "norm."}
    spelt = {}
    for key, value in version_4(state, "Dinov2").items():
        for old, new in names.items():
            key = key.replace(old, new)
        spelt[key] = value
    for key in [key for key in spelt if ".attention.attention.query." in key]:
        parts = [spelt.pop(key.replace("query", part)) for part in ("query", "key", "value")]
        spelt[key.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return spelt


@pytest.mark.parametrize("spelling", ["transformers", "meta"])
@pytest.mark.parametrize("name", REGISTERS)
def test_dinov2_with_registers_in_either_spelling(tmp_path: Path, name: str, spelling: str) -> None:
    config, view = REGISTERS[name]
    reference = hugging_face("Dinov2WithRegisters", patch_size=14, num_register_tokens=4, **config)
    state = reference.state_dict()
    state = as_meta(state) if spelling == "meta" else version_4(state, "Dinov2")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    encoder = built(name, tmp_path)
    same(encoder, lambda x: reference(pixel_values=x).last_hidden_state[:, 0], seen(*view), reference)


@pytest.mark.parametrize("spelling", ["timm", "meta"])
def test_kaikos_large_one_sees_224_pixels_on_a_grid_of_518(tmp_path: Path, spelling: str) -> None:
    reference = shaken(vit("vit_large_patch14_reg4_dinov2", dynamic_img_size=True)(depth=1))
    state = dict(reference.state_dict())
    if spelling == "meta":  # the class token's position apart, as timm's own filter takes it
        place = torch.randn(1, 1, 1024) / 50
        state["pos_embed"] = torch.cat([place, state["pos_embed"]], 1)
        state["cls_token"], state["register_tokens"] = state["cls_token"] - place, state.pop("reg_token")
        state["mask_token"] = torch.zeros(1, 1024)
    torch.save(state, tmp_path / "vitl14.pth")
    encoder = built("kaiko_l14", tmp_path / "vitl14.pth")
    assert encoder.dim == 1024
    same(encoder, lambda x: reference(x)[:, 0], seen(224, HALF, "bilinear"), reference)

"""Names of tensors as libraries publish them, turned into timm's: transformers', CoCa's, CTransPath's."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

_BEFORE = re.compile(
    r"^.*?(?=embeddings\.(?:cls|pos|patch|mask|register)|encoder\.layer\.|(?<!\w)layers\.|layernorm\.|pooler\.)"
)
_TRANSFORMERS = (  # of versions 4 and 5: ViTModel and Dinov2Model
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(?:encoder\.layer|layers)\.", "blocks."),
    (r"\.attention\.(?:attention\.)?(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.(?:weights_out|down_proj)\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
    (r"^pooler\.", "head.pooler."),  # made for a classifier; the features are taken before it
)
_JOINED = (  # parts that timm keeps in one matrix, in its order
    ((".attn.query.", ".attn.key.", ".attn.value."), ".attn.qkv."),
    ((".attn.q.", ".attn.k.", ".attn.v."), ".attn.qkv."),
    ((".mlp.gate_proj.", ".mlp.up_proj."), ".mlp.fc1."),
)
_OF_CAPTIONS = ("visual.attn_pool_caption.", "visual.ln_caption.", "visual.proj_contrast")


def as_published(given: Mapping[str, Tensor], network: nn.Module) -> State:
    """Keep timm's own names, and those that open_clip gives its wrapper of a timm network."""
    return dict(given)


def from_transformers(given: Mapping[str, Tensor], network: nn.Module) -> State:
    """Rename ViTModel's or Dinov2Model's tensors, join queries, keys and values, and fit the positions to the size."""
    state: State = {}
    for key, value in given.items():
        name = _BEFORE.sub("", key)
        for pattern, new in _TRANSFORMERS:
            name = re.sub(pattern, new, name)
        state[name] = value
    for parts, whole in _JOINED:
        for key in [key for key in state if parts[0] in key]:
            names = [key.replace(parts[0], part) for part in parts]
            if all(name in state for name in names):
                state[key.replace(parts[0], whole)] = torch.cat([state.pop(name) for name in names])
    own = _positions(network)
    if own is not None and "pos_embed" in state:
        state["pos_embed"] = _resampled(state["pos_embed"], own.shape[1])
    return state


def _positions(network: nn.Module) -> Tensor | None:
    """Find the positions of a network's tokens (1, N, D)."""
    return next((value for name, value in network.state_dict().items() if name.endswith("pos_embed")), None)


def _resampled(positions_1ND: Tensor, wanted: int) -> Tensor:
    """Resample a square grid of positions behind a class token as transformers does: bicubic, not antialiased."""
    sides = [math.isqrt(count - 1) for count in (positions_1ND.shape[1], wanted)]
    if positions_1ND.shape[1] == wanted or [side**2 + 1 for side in sides] != [positions_1ND.shape[1], wanted]:
        return positions_1ND
    grid = positions_1ND[:, 1:].unflatten(1, (sides[0], sides[0])).permute(0, 3, 1, 2).float()
    grid = nn.functional.interpolate(grid, (sides[1], sides[1]), mode="bicubic", align_corners=False)
    return torch.cat([positions_1ND[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def from_dinov2(given: Mapping[str, Tensor], network: nn.Module) -> State:
    """Rename the tensors of Meta's DINOv2 with registers, or of transformers' Dinov2WithRegisters.

    There the class token has a position of its own; timm's network has none, so it is added to the token.
    """
    of_transformers = any("embeddings.patch_embeddings." in key for key in given)
    named = from_transformers(given, network) if of_transformers else dict(given)
    state: State = {}
    for key, value in named.items():
        for pattern, new in (
            (r"(^|\.)register_tokens$", r"\1reg_token"),
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
        ):
            key = re.sub(pattern, new, key)
        state[key] = value
    own = _positions(network)
    for key in [key for key in state if key.endswith("pos_embed")]:
        token = f"{key.removesuffix('pos_embed')}cls_token"
        if token in state and own is not None and state[key].shape[1] == own.shape[1] + 1:
            state[token] = state[token] + state[key][:, :1]
            state[key] = state[key][:, 1:]
    return state


def from_coca(given: Mapping[str, Tensor], network: nn.Module) -> State:
    """Leave out what of a CoCa's visual part serves captions and the contrast with texts."""
    return {key: value for key, value in given.items() if not key.startswith(_OF_CAPTIONS)}


def from_old_swin(given: Mapping[str, Tensor], network: nn.Module) -> State:
    """Rename the downsampling, which older Swins have at the end of a stage, timm's at the beginning of the next."""
    return {
        re.sub(r"(^|\.)layers\.(\d+)\.downsample", lambda m: f"{m[1]}layers.{int(m[2]) + 1}.downsample", key): value
        for key, value in given.items()
    }


LAYOUTS: dict[str, Callable[[Mapping[str, Tensor], nn.Module], State]] = {
    "timm": as_published,
    "open_clip": as_published,
    "transformers": from_transformers,
    "dinov2": from_dinov2,
    "coca": from_coca,
    "ctranspath": from_old_swin,
}

"""Encoders as others published them: a timm network, the file's layout, the preprocessing and pooling of its paper.

Each is a file of a few lines, ``configs/encoder/NAME.yaml``; here is what they have in common.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.encoder.base import Encoder, Preprocessing
from medtrain.encoder.hub import Origin, download, local_file
from medtrain.encoder.layout import LAYOUTS
from medtrain.encoder.pretrained import KEY, is_none, timm_network, weights_name
from medtrain.encoder.trunk import ClipImage, CoCaImage, ConvStem, Pooled, Pooling
from medtrain.model.frozen import load_whole
from medtrain.model.weights import load_weights

Part = TypeVar("Part", Preprocessing, Origin)
Layout = Literal["timm", "open_clip", "transformers", "dinov2", "coca", "ctranspath"]


def published(
    name: str,
    weights: str = "pretrained",
    layout: Layout = "timm",
    pooling: Pooling = "class",
    arguments: dict[str, Any] | None = None,
    preprocessing: dict[str, Any] | None = None,
    origin: dict[str, Any] | None = None,
) -> Encoder:
    """Build an encoder from its description.

    Args:
        name: of the timm network.
        weights: ``pretrained`` (from the hub), a file, a folder (``local-dir:`` too), or ``none`` (random).
        layout: whose names the file's tensors bear.
        pooling: class token, mean of the patches, both, or the network's own.
        arguments: for `timm.create_model`; ``mlp_layer`` and ``act_layer`` by name, ``norm_eps`` for the norms.
        preprocessing: `Preprocessing`'s size, resize, mean, std, resampling.
        origin: `Origin`'s hub, file, licence, gated.

    Raises:
        UsageError, MedtrainError: no such argument; the weights cannot be had, or are not of this network.
    """
    prepare = _described(Preprocessing, preprocessing or {}, "encoder.preprocessing")
    source = _described(Origin, origin or {}, "encoder.origin")
    size = {} if prepare.size is None else {"img_size": prepare.size}
    trunk = timm_network(name, False, size | _built_in(arguments or {}, layout))
    network: nn.Module = Pooled(trunk, pooling)
    if layout in ("coca", "open_clip"):
        network = CoCaImage(trunk) if layout == "coca" else ClipImage(trunk)
    if not is_none(weights):
        fetched = weights == "pretrained"
        file = download(source, KEY, _tell) if fetched else local_file(weights, source, KEY)
        load_weights(network, file, key=KEY, fit=partial(_fit, layout=layout))
    return Encoder(network, prepare, f"{name} {weights_name(weights, source.hub)}", is_none(weights))


def _fit(network: nn.Module, state: Mapping[str, Tensor], layout: Layout) -> None:
    named = LAYOUTS[layout](state, network)
    load_whole(network, named)
    before, after = (
        next((value.shape[1] for key, value in values.items() if re.search(r"pos(?:ition)?_embed(?:dings)?$", key)), 0)
        for values in (state, named)
    )
    if abs(before - after) > 1:  # but for the class token, which some publish apart
        sides = [f"{side} x {side}" for side in (math.isqrt(before), math.isqrt(after))]
        network.loaded = f"{network.loaded}; positions of {sides[0]} patches resampled to {sides[1]}"  # type: ignore[assignment]


def _built_in(arguments: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Put classes in the place of their names."""
    library: Any = extra("timm", "this encoder")
    classes = {
        "mlp_layer": {"SwiGLUPacked": library.layers.SwiGLUPacked, "Mlp": library.layers.Mlp},
        "act_layer": {"SiLU": nn.SiLU, "GELU": nn.GELU},
    }
    made = dict(arguments)
    for key, known in classes.items():
        if key in made and made[key] not in known:
            raise UsageError(f"encoder.arguments.{key}={made[key]}: it must be one of {', '.join(known)}")
        made |= {key: known[made[key]]} if key in made else {}
    if (eps := made.pop("norm_eps", None)) is not None:
        made["norm_layer"] = partial(nn.LayerNorm, eps=float(eps))
    if layout == "ctranspath":
        made["embed_layer"] = ConvStem
    return made


def _described(kind: type[Part], given: Mapping[str, Any], key: str) -> Part:
    known = kind.__dataclass_fields__
    if wrong := [name for name in given if name not in known]:
        raise UsageError(f"{key}.{wrong[0]}: no such key; there are {', '.join(known)}")
    return kind(**given)


def _tell(text: str) -> None:
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":  # once, whatever the number of processes
        print(text, flush=True)

"""The last features of a network that have a place in the input: a feature map, channels last, or tokens.

They are found by watching a forward pass, so any network will do whose features keep the order of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.model.attention import AttentionPool

PREFIX = 8  # tokens that may stand before those of the image: class, distillation, registers
NO_PLACE = "doesn't end in features that have a place in the image, a map or tokens"
INSTEAD = "explain.method=occlusion takes any network, attention those with model.attention=true"
Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Features:
    """Where a network has its last features.

    Args:
        layer: the module whose (last) output they are.
        form: makes (B, C, [d,] h, w) of that output.
    """

    layer: nn.Module
    form: Form


def last_features(network: nn.Module, x: Tensor, outputs: Callable[[Tensor], Tensor]) -> Features:
    """Find the last features with more than one position that the outputs depend on.

    A class token is pooled alone, so what the last block of a transformer makes of the image's other tokens counts for
    nothing; then the features are those that this block takes its keys and values from.

    Args:
        x: (1, C, [D,] H, W).
        outputs: logits of the network for x.

    Raises:
        UsageError: what comes last has no such form.
    """
    inside = {m for pool in network.modules() if isinstance(pool, AttentionPool) for m in pool.modules()}
    seen: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if isinstance(output, Tensor) and output.ndim > 2 and any(n > 1 for n in output.shape[2:]):
            seen.append((module, output))
            return output.clone()  # so that what comes in place later leaves it as it was
        return None

    handles = [m.register_forward_hook(note) for m in network.modules() if m not in inside and m is not network]
    try:
        with torch.enable_grad():
            total = outputs(x.detach().requires_grad_()).sum()
    finally:
        for handle in handles:
            handle.remove()
    tokens = getattr(network, "num_prefix_tokens", None)
    forms = [_form(output.shape, x.shape, tokens) for _, output in seen]
    form = forms[-1] if seen else None
    if form is _as_it_is:
        return Features(seen[-1][0], form)
    if form is not None:
        alike = [
            (layer, output) for layer, output in seen if output.shape == seen[-1][1].shape and output.requires_grad
        ]
        gradients = torch.autograd.grad(total, [output for _, output in alike], allow_unused=True)
        for (layer, _), gradient in reversed([*zip(alike, gradients, strict=True)]):
            if gradient is not None and bool(form(gradient).any()):
                return Features(layer, form)
        return Features(alike[-1][0], form)  # nothing speaks for anything: a flat map
    raise UsageError(f"{type(network).__name__} {NO_PLACE}, which Grad-CAM needs; {INSTEAD}")


def _form(shape: Sequence[int], image: Sequence[int], prefix: int | None) -> Form | None:
    """Tell how an output becomes a map of the image, if it is one."""
    if _divides(shape[2:], image[2:]):
        return _as_it_is
    if len(shape) == len(image) and _divides(shape[1:-1], image[2:]):
        return _channels_last
    if len(shape) == 3:
        for before in range(PREFIX + 1) if prefix is None else (prefix,):
            cells = _cells(shape[1] - before, image[2:])
            if cells is not None:
                return partial(_tokens, before, cells)
    return None


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _tokens(before: int, cells: tuple[int, ...], x_BNC: Tensor) -> Tensor:
    return x_BNC[:, before:].transpose(1, 2).unflatten(2, cells)


def _divides(cells: Sequence[int], sides: Sequence[int]) -> bool:
    """Tell whether cells divide all sides of the image alike."""
    if len(cells) != len(sides):
        return False
    share = cells[0] / sides[0]
    return all(n <= side and abs(side * share - n) <= 1 for n, side in zip(cells, sides, strict=True))


def _cells(number: int, sides: Sequence[int]) -> tuple[int, ...] | None:
    """Lay tokens out over the image, as many along each side as it is long; None where that comes out uneven."""
    if number < 2:
        return None
    along = (number / math.prod(sides)) ** (1 / len(sides))
    cells = tuple(round(side * along) for side in sides)
    return cells if math.prod(cells) == number and _divides(cells, sides) else None

"""Maps of where a network looks: its own attention map, and Grad-CAM for any convolutional network.

Selvaraju et al., Grad-CAM, ICCV 2017, by captum, on the last feature map, which is found by watching one forward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.model import attention_map, class_logits, has_attention, members_of
from medtrain.model.attention import AttentionPool

LINEAR = {2: "bilinear", 3: "trilinear"}
Method = Callable[[nn.Module, Tensor, Tensor], Tensor]


def of_members(method: Method) -> Method:
    """Make the method fit ensembles too: the mean of the members' maps, of which each counts alike.

    The gradients of different networks have no unit in common, so each map is divided by its maximum first; a map
    without any contrast stays zero. Members' maps may differ in resolution: all are brought to the finest.
    """

    @functools.wraps(method)
    def averaged(network: nn.Module, x: Tensor, classes_B: Tensor) -> Tensor:
        maps = [method(member, x, classes_B) for member in members_of(network)]
        if len(maps) == 1:
            return maps[0]
        size = [max(sides) for sides in zip(*(heat.shape[1:] for heat in maps), strict=True)]
        fine = [F.interpolate(heat[:, None], size, mode=LINEAR[len(size)])[:, 0] for heat in maps]
        sides = tuple(range(1, 1 + len(size)))
        return torch.stack([heat / heat.amax(sides, keepdim=True).clamp(min=1e-12) for heat in fine]).mean(0)

    return averaged


@of_members
def attention(network: nn.Module, x: Tensor, classes_B: Tensor) -> Tensor:
    """Give the attention map, the same for every class: (B, h, w) or (B, d, h, w), each summing to 1.

    Of an ensemble see `of_members`.

    Raises:
        UsageError: the network has none.
    """
    with torch.no_grad():
        return attention_map(network, x)


@of_members
def grad_cam(network: nn.Module, x: Tensor, classes_B: Tensor) -> Tensor:
    """Compute Grad-CAM of one class an image.

    Args:
        network: in evaluation mode, from inputs to logits; one logit stands for two classes, the first being its
            negative.
        x: (B, C, H, W) or (B, C, D, H, W).
        classes_B: class numbers.

    Returns:
        (B, h, w) or (B, d, h, w), not negative, in units of the logit's gradient times features; zero where nothing
        speaks for the class.

    Raises:
        UsageError: the network doesn't end in a feature map (a vision transformer).
    """

    def logits(x: Tensor) -> Tensor:
        logits_BK = class_logits(network, x)
        return torch.cat([-logits_BK, logits_BK], 1) if logits_BK.shape[1] == 1 else logits_BK

    layer = feature_layer(network, x[:1])
    maps = LayerGradCam(logits, layer).attribute(x, target=classes_B, relu_attributions=True)
    return maps[:, 0].detach()


def feature_layer(network: nn.Module, x: Tensor) -> nn.Module:
    """Find the module whose output is the last feature map (1, C, [d,] h, w) of more than one position.

    Raises:
        UsageError: what comes last is no such map but tokens, or channels that stand last.
    """
    inside = {m for pool in network.modules() if isinstance(pool, AttentionPool) for m in pool.modules()}
    seen: list[tuple[nn.Module, torch.Size]] = []

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim > 2 and any(n > 1 for n in output.shape[2:]):
            seen.append((module, output.shape))

    handles = [m.register_forward_hook(note) for m in network.modules() if m not in inside and m is not network]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    if not seen or not _is_map(seen[-1][1], x.shape):
        raise UsageError(
            f"{type(network).__name__} doesn't end in a feature map, which Grad-CAM needs; explain.method=attention"
            " takes networks with model.attention=true"
        )
    return seen[-1][0]


def _is_map(shape: torch.Size, image: torch.Size) -> bool:
    """Tell whether (1, C, h, w) divides all sides of the image alike; tokens (1, N, C) and (1, h, w, C) do not."""
    if len(shape) != len(image):
        return False
    cells, sides = shape[2:], image[2:]
    share = cells[0] / sides[0]
    return all(n <= side and abs(side * share - n) <= 1 for n, side in zip(cells, sides, strict=True))


METHODS = {"attention": attention, "gradcam": grad_cam}


def methods(network: nn.Module, wanted: str) -> list[str]:
    """List the methods to show: the one wanted, or with ``all`` what the network allows."""
    attentive = all(has_attention(member) for member in members_of(network))
    return ["attention"] * attentive + ["gradcam"] if wanted == "all" else [wanted]

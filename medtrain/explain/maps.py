"""Maps of where a network looks: its own attention map, Grad-CAM on its last features, occlusion for any network.

Selvaraju et al., Grad-CAM, ICCV 2017.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.explain.features import last_features
from medtrain.explain.occlusion import Covers, occlude
from medtrain.model import attention_map, class_logits, has_attention, members_of

TITLES = {
    "attention": "attention;",
    "gradcam": "Grad-CAM for",
    "occlusion": "occlusion for",
    "contribution": "contributions to",
}
SCALES = {
    "attention": "attention, relative to its maximum",
    "gradcam": "Grad-CAM, relative to its maximum",
    "occlusion": "fall of the logit under a cover, relative to its maximum",
    "contribution": "what a slice adds to the logit, relative to its maximum",
}
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
        UsageError: the network's last features have no place in the image (`last_features`).
    """
    logits = partial(_logits, network)
    features = last_features(network, x[:1], logits)
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()  # what comes in place later leaves it as it was

    handle = features.layer.register_forward_hook(note)
    try:
        with torch.enable_grad():
            chosen = logits(x.detach().requires_grad_()).gather(1, classes_B[:, None]).sum()
            gradient = torch.autograd.grad(chosen, seen[-1])[0]
    finally:
        handle.remove()
    maps, slopes = features.form(seen[-1].detach()), features.form(gradient)
    weights = slopes.mean(tuple(range(2, slopes.ndim)), keepdim=True)
    return (weights * maps).sum(1).relu().detach()


def occlusion(network: nn.Module, x: Tensor, classes_B: Tensor, covers: Covers) -> Tensor:
    """Map how much each place adds to a class's logit, by covering it (`occlude`); of an ensemble see `of_members`.

    Returns:
        (B, H, W) or (B, D, H, W), not negative.
    """

    def of_one(member: nn.Module, x: Tensor, classes_B: Tensor) -> Tensor:
        return occlude(partial(_logits, member), x, classes_B, covers)

    return of_members(of_one)(network, x, classes_B)


def _logits(network: nn.Module, x: Tensor) -> Tensor:
    """Give logits of all classes, both of two where the network has one for them."""
    logits_BK = class_logits(network, x)
    return torch.cat([-logits_BK, logits_BK], 1) if logits_BK.shape[1] == 1 else logits_BK


def method_of(name: str, covers: Covers) -> Method:
    """Look up a method by its name."""
    methods: dict[str, Method] = {"attention": attention, "gradcam": grad_cam}
    return methods.get(name, partial(occlusion, covers=covers))


def allowed(network: nn.Module, wanted: str, x_1: Tensor) -> tuple[list[str], list[str]]:
    """List the methods to show, and what is to be told of them.

    Args:
        wanted: one of them; or all: attention and Grad-CAM where the network has them, occlusion where it has neither.
        x_1: one input.

    Raises:
        UsageError: the network doesn't have the one wanted.
    """
    members = members_of(network)
    attentive = all(has_attention(member) for member in members)
    if wanted in ("attention", "occlusion"):
        return [wanted], []
    named = ["attention"] if attentive and wanted == "all" else []
    try:
        for member in members:
            last_features(member, x_1, partial(_logits, member))
    except UsageError as error:
        if wanted != "all":
            raise
        return named or ["occlusion"], [f"no Grad-CAM: {error}"]
    return [*named, "gradcam"], []

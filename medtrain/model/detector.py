"""The interface of networks that the detection task can train, whoever wrote them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from medtrain.core.boxes import Boxes, Detections
from medtrain.core.errors import UsageError
from medtrain.core.suppression import Suppression


class Stage(NamedTuple):
    """A part of a detector up to where it suppresses boxes, its inputs normalised.

    Args:
        network: of the first stage from (B, C, H, W) to the fields of `core.boxes.Candidates`, and to what a second one
            takes; of a second from boxes (N, 4), the image of each (N,) and these to boxes (N, C, 4), scores (N, C).
        rule: of suppression, within classes; of the first of two stages within levels.
    """

    network: nn.Module
    rule: Suppression


class Detector(nn.Module):
    """A network that finds boxes.

    Attributes:
        own_loss: its forward pass returns losses by name.
        heads: beginnings of the names of weights whose width is that of the classes or anchors; `warm_start` leaves
            them fresh where they differ.
        inner: beginnings that files of others leave out: of a network within this one, of its backbone.
    """

    own_loss: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ()
    inner: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, x_BCHW: Tensor, truth: Boxes | None = None) -> Any:
        """Return for training `core.boxes.Raw` outputs for a loss, or the network's own losses by name."""

    @abstractmethod
    def detect(self, x_BCHW: Tensor) -> Detections:
        """Predict boxes in pixels of the input, after suppression; of each image the surest first."""

    def parted(self, channels: int, size: tuple[int, int]) -> list[Stage]:
        """Part the network where it suppresses boxes, for inputs of one size: one stage, or two.

        Raises:
            UsageError: it doesn't say where that is.
        """
        raise UsageError(
            f"export: {type(self).__name__} doesn't say what it proposes before suppression; give it a method parted() "
            "(medtrain/model/detector.py)"
        )


@contextmanager
def losses_wanted(network: nn.Module) -> Iterator[None]:
    """Let a network give its own losses, which it has in training only, while norms and dropout stay as they are."""
    modes = {module: module.training for module in network.modules()}
    if getattr(network, "own_loss", False):
        for module in modes:
            if not isinstance(module, _NormBase | _DropoutNd):
                module.training = True
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode

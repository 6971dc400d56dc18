"""Monte-Carlo dropout: a trained network asked several times with dropout on, the rest in evaluation mode.

Gal & Ghahramani, Dropout as a Bayesian approximation, ICML 2016. Each case's masks are drawn from a stream of its own,
so its uncertainty depends neither on the batch it came in nor on the rank that had it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.core.streams import torch_seed

# of functional dropout, how many dimensions of an input (B, ...) share an entry of the mask
SHARED: dict[Callable[..., Any], int] = {F.dropout: 0, F.dropout1d: 1, F.dropout2d: 2, F.dropout3d: 3}


def dropouts(network: nn.Module) -> list[nn.Module]:
    """List the modules that drop something: torch's, `Head`, and those with a ``drop_rate`` (DenseNet, timm)."""

    def rate(module: nn.Module) -> Any:
        if isinstance(module, _DropoutNd):
            return module.p
        return next((getattr(module, n) for n in ("dropout", "drop_rate") if hasattr(module, n)), 0.0)

    return [m for m in network.modules() if isinstance(share := rate(m), float) and share > 0]


def check_passes(network: nn.Module, passes: int) -> None:
    """Refuse a number of dropout passes that the network cannot give.

    Raises:
        UsageError: a single pass, which has no spread, or a network that drops nothing.
    """
    if passes == 1:
        raise UsageError("eval.mc_dropout=1: one pass has no spread; give 20, say, or 0 for none")
    if passes and not dropouts(network):
        raise UsageError(
            f"eval.mc_dropout={passes}: the network has no dropout, so all passes would be equal; "
            "train it with model.dropout=0.2, say"
        )


def dropout_passes(
    network: nn.Module, x: Tensor | Packed, ids_B: Sequence[Sequence[int]], passes: int, seed: int = 0
) -> Tensor:
    """Compute logits of repeated passes with dropout on, the rest, batch norms too, in evaluation mode.

    Args:
        x: inputs (B, ...), or B bags.
        ids_B: what tells each row from all others, such as (case,) or (case, instance).
        passes: how often.

    Returns:
        (B, passes, K).
    """
    lengths_B = x.offsets.diff().tolist() if isinstance(x, Packed) else [1] * len(ids_B)
    with _only(dropouts(network)):
        logits = []
        for number in range(passes):
            with _Masks([(number, *ids) for ids in ids_B], lengths_B, seed):
                logits.append(network(x))
    return torch.stack(logits, 1)


@contextmanager
def _only(modules: list[nn.Module]) -> Iterator[None]:
    """Put these modules alone into training mode, not what they hold."""
    before = [module.training for module in modules]
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.training = was


class _Masks(TorchFunctionMode):
    """Replacement of functional dropout, which all modules call, by masks drawn case by case.

    Args:
        keys_B: of the cases.
        lengths_B: rows of each case before its instances are pooled; one a case afterwards.
    """

    def __init__(self, keys_B: list[tuple[int, ...]], lengths_B: list[int], seed: int) -> None:
        super().__init__()
        self.keys_B, self.lengths_B, self.seed, self.calls = keys_B, lengths_B, seed, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in SHARED:
            return func(*args, **kwargs)
        return self._dropped(SHARED[func], *args, **kwargs)

    def _dropped(self, shared: int, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0:
            return input
        shape = input.shape[1 : input.ndim - shared]
        drawn = torch.empty((len(input), *shape), dtype=torch.float32)
        generator = torch.Generator()
        lengths_B = [1] * len(self.keys_B) if len(input) == len(self.keys_B) else self.lengths_B
        for rows, key in zip(drawn.split(lengths_B), self.keys_B, strict=True):
            generator.manual_seed(torch_seed(self.seed, "mc_dropout", *key, self.calls))
            rows.bernoulli_(1 - p, generator=generator)
        self.calls += 1
        mask = (drawn / (1 - p)).reshape(*drawn.shape, *[1] * shared).to(input.device, input.dtype)
        return input * mask

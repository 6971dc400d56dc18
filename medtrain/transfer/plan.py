"""Fine-tuning of a pretrained network: freezing, discriminative rates, layer-wise decay of the rate.

Every weight is in the optimizer from the start, and what is frozen gets no gradient, so its step is skipped. So a run
that is resumed across the epoch of unfreezing goes on to the bit, and schedulers know every group from the start.
Discriminative fine-tuning and gradual unfreezing: Howard and Ruder, ULMFiT, ACL 2018; the decay of the rate by depth
as Clark et al., ELECTRA, ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medtrain.core.ranges import Above, AtLeast, AtMost, checked
from medtrain.core.stages import Stage, stages

ALWAYS = -1


class Transfer:
    """The way in which each part of a network trains. The defaults change nothing.

    Args:
        freeze_epochs: epochs for which all but the head is frozen; -1: always.
        head_lr: rate of the head, as a multiple of the optimizer's.
        layer_decay: factor of the rate from each part of the network to the one before it (`core.stages`); the part
            before the head has the optimizer's rate.
        freeze_norm: batch norms outside the head keep their statistics, scale and shift, also after unfreezing.
        decay_norm: whether weight decay holds for norms and biases too.

    Raises:
        UsageError: a value is out of range.
    """

    @checked("transfer")
    def __init__(
        self,
        freeze_epochs: Annotated[int, AtLeast(ALWAYS)] = 0,
        head_lr: Annotated[float, Above(0)] = 1.0,
        layer_decay: Annotated[float, Above(0), AtMost(1)] = 1.0,
        freeze_norm: bool = False,
        decay_norm: bool = True,
    ) -> None:
        self.freeze_epochs, self.head_lr, self.layer_decay = freeze_epochs, head_lr, layer_decay
        self.freeze_norm, self.decay_norm = freeze_norm, decay_norm
        self._trained: set[int] = set()  # ids of what `groups` gave away: what a network holds fixed stays fixed

    @property
    def idle(self) -> bool:
        """Tell whether this is plain training."""
        rates_equal = self.head_lr == self.layer_decay == 1
        return rates_equal and self.freeze_epochs == 0 and self.decay_norm and not self.freeze_norm

    def freezes(self, epoch: int) -> bool:
        """Tell whether all but the head is frozen in this epoch (from 0)."""
        return self.freeze_epochs == ALWAYS or epoch < self.freeze_epochs

    def groups(self, network: nn.Module, others: Iterable[nn.Parameter] = ()) -> list[dict[str, Any]]:
        """Make parameter groups for an optimizer, each parameter in one.

        Args:
            network: whose parameters are grouped by depth.
            others: parameters outside the network (of a loss, say); they train at the optimizer's rate.

        Returns:
            Groups with ``params``, the factor ``scale`` of the rate (see `scale_rates`), and ``weight_decay=0`` where
            there is none. Groups that differ in nothing are one.
        """
        grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
        scales = {id(p): scale for stage, scale in self._scales(network) for p in stage.parameters()}
        trained = {id(p): p for p in [*network.parameters(), *others] if p.requires_grad}
        self._trained = set(trained)
        for parameter in trained.values():
            decays = self.decay_norm or parameter.ndim > 1
            grouped.setdefault((scales.get(id(parameter), 1.0), decays), []).append(parameter)
        return [
            {"params": params, "scale": scale} | ({} if decays else {"weight_decay": 0.0})
            for (scale, decays), params in grouped.items()
        ]

    def _scales(self, network: nn.Module) -> list[tuple[Stage, float]]:
        *body, head = stages(network)
        depths = range(len(body) - 1, -1, -1)
        return [*((s, self.layer_decay**d) for s, d in zip(body, depths, strict=True)), (head, self.head_lr)]

    def enter_epoch(self, network: nn.Module, epoch: int, distributed: bool) -> None:
        """Set the modes of an epoch: what is frozen runs as in evaluation, so no statistics drift, nothing is dropped.

        Args:
            distributed: leave ``requires_grad`` alone, since DDP fixes what it reduces when it wraps a network;
                `drop_gradients` does the freezing then.
        """
        if self.freeze_epochs == 0 and not self.freeze_norm:
            return
        *body, _ = stages(network)
        frozen, fixed = self.freezes(epoch), {id(p) for p in self._fixed_norms(network)}
        for stage in body:
            for module in stage.modules:
                module.train(not frozen)
                if self.freeze_norm:
                    for norm in _batch_norms(module):
                        norm.eval()
            for parameter in stage.parameters():
                if id(parameter) in self._trained and not distributed:
                    parameter.requires_grad_(not (frozen or id(parameter) in fixed))

    def drop_gradients(self, network: nn.Module, epoch: int) -> None:
        """Forget the gradients of what is frozen, before clipping and the step."""
        if self.freezes(epoch):
            frozen = [p for stage in stages(network)[:-1] for p in stage.parameters()]
        else:
            frozen = self._fixed_norms(network)
        for parameter in frozen:
            parameter.grad = None

    def _fixed_norms(self, network: nn.Module) -> list[nn.Parameter]:
        """List the parameters of the batch norms that never train."""
        body = stages(network)[:-1] if self.freeze_norm else []
        return [p for stage in body for m in stage.modules for norm in _batch_norms(m) for p in norm.parameters()]

    def describe(self, network: nn.Module, rate: float) -> str:
        """Write a line on how much trains at what rate, and from when on."""
        *body, head = self._scales(network)
        rates = [rate * scale for _, scale in body] or [rate]
        whole, top = sum(p.numel() for p in network.parameters()), sum(p.numel() for p in head[0].parameters())
        fixed = sum(p.numel() for p in self._fixed_norms(network))
        span = f"{min(rates):.3g}" + (f" to {max(rates):.3g}, by depth" if min(rates) < max(rates) else "")
        when = {ALWAYS: "frozen", 0: f"at {span}"}.get(
            self.freeze_epochs, f"frozen for {self.freeze_epochs} epochs, then at {span}"
        )
        norms = f"; {fixed:,} of batch norms never" if fixed and self.freeze_epochs != ALWAYS else ""
        return f"transfer: {top:,} weights of the head train at {rate * head[1]:.3g}; {whole - top:,} {when}{norms}"


def scale_rates(optimizer: Any) -> None:
    """Multiply each group's rate by its ``scale``, once, before a scheduler takes it as the peak."""
    for group in optimizer.param_groups:
        group["lr"] *= group.pop("scale", 1.0)


def _batch_norms(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]

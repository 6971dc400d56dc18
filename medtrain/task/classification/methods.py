"""What explains images and volumes alike: the methods that a network has, and the test that they depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtrain.explain import Covers, sanity_check
from medtrain.explain.maps import Method, allowed, method_of
from medtrain.model import class_logits
from medtrain.task.explanation import Explanation, Request

COVERED = "occlusion"


@dataclass(frozen=True)
class Methods:
    """The methods to show of a network.

    Args:
        names: in order.
        covers: of occlusion, on inputs of `sides`.
    """

    names: list[str]
    covers: Covers
    sides: tuple[int, ...]

    def __getitem__(self, name: str) -> Method:
        return method_of(name, self.covers)

    def block(self, name: str) -> tuple[int, ...]:
        """Give the elements along each axis of a map that make one cell of it."""
        return self.covers.strides(self.sides) if name == COVERED else (1,) * len(self.sides)


def methods_of(task: Any, request: Request, explanation: Explanation) -> Methods:
    """Choose the methods for a trained task, and note what is to be told of them.

    Raises:
        UsageError: the network doesn't have the one wanted, or covers don't fit its inputs.
    """
    spec = task.spec
    if spec.covariates:  # the trial input is of a case of which the table says nothing
        task.show({"columns": torch.full((1, len(spec.covariates)), torch.nan, device=request.device)})
    draw = torch.Generator().manual_seed(0)
    names, notes = allowed(
        task.model, request.method, torch.rand(1, spec.channels, *spec.size, generator=draw).to(request.device)
    )
    methods = Methods(names, request.covers(spec.size), tuple(spec.size))
    explanation.notes += notes + [methods.covers.in_words(methods.sides)] * (COVERED in names)
    return methods


def check(task: Any, few: dict[str, Tensor], methods: Methods) -> dict[str, Any]:
    """Test maps of the first inputs with randomised weights, for the class that is most probable.

    Of occlusion, which takes very many passes, and beside columns of a table, that is the first input alone.
    """
    with torch.no_grad():
        x = task.inputs(few)
        logits = class_logits(task.model, x)
        logits = logits.mean(1) if logits.ndim == 3 else logits  # of an ensemble's members
    number = task.target.outputs_for(task.target.likely(logits))
    alone = "columns" in few  # shown to the network for all that a method makes of an input
    most = {name: 1 if name == COVERED or alone else len(x) for name in methods.names}
    checks = {}
    for name, n in most.items():
        if alone:
            task.show(few, slice(n))
        checks[name] = sanity_check(task.model, methods[name], x[:n], number[:n])
    return checks

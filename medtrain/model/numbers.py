"""What numbers a file's tensors may hold: those that the network can hold, and none that makes its output no number.

torch casts whatever it is given: whole numbers of a quantized file become weights of -128 to 127, a complex weight
loses its imaginary part, and NaN is loaded like any other value.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medtrain.core.errors import MedtrainError


def refuse_numbers(network: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose numbers can't be a network's: of another kind, or NaN or infinite as the network holds them.

    Args:
        network: its name, for the message.
        state: the file's tensors, by the network's names.
        own: the network's tensors; where one is itself infinite, as masks of attention are, so may the file's be.

    Raises:
        MedtrainError: there are such; the message counts them, names the first, and says why.
    """
    faults = {key: fault for key, value in state.items() if (fault := _fault(value, own[key]))}
    if not faults:
        return
    shown = ", ".join(f"{key} {fault}" for key, fault in list(faults.items())[:3])
    more = f", ... ({len(faults)} in all)" if len(faults) > 3 else ""
    raise MedtrainError(
        f"{len(faults)} of {len(state)} tensors of the file can't be weights of this {network}: {shown}{more}; "
        "save finite floating-point weights: those of an earlier epoch, or from before they were quantized"
    )


def _fault(value: Tensor, own: Tensor) -> str:
    """Say what is wrong with a tensor's numbers; blank: nothing."""
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_quantized or value.is_complex() or value.layout != torch.strided:
        return f"is {kind}" if value.layout == torch.strided else f"is {kind} in a sparse layout"
    if not own.is_floating_point():
        whole = not value.is_floating_point() or bool((value == value.round()).all())
        return "" if whole else f"is {kind} with fractions, for {str(own.dtype).removeprefix('torch.')}"
    if not value.is_floating_point():
        return f"is {kind}"
    cast = value.to(own.dtype)
    if bool(cast.isfinite().all()):
        return ""
    wrong = ~cast.isfinite()
    if cast.shape == own.shape:
        wrong &= cast != own.to(cast.device)
    bad = int(wrong.sum())
    return f"has {bad:,} of {cast.numel():,} values that are NaN or infinite" if bad else ""

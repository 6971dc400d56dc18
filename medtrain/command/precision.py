"""The numbers that a training computes in, where that is left to the device."""

from __future__ import annotations

import torch

FULL, HALF = "32-true", "bf16-mixed"
WRONG = "gradients are wrong where a map is one or two rows, columns or sections deep; take 32-true"


def settled(wanted: str, cuda: bool) -> str:
    """Settle `trainer.precision`: ``auto`` is bfloat16 on GPUs that compute in it, else 32 bits.

    Weights, their gradients' sums and the optimizer stay in 32 bits either way (Micikevicius et al., Mixed Precision
    Training, ICLR 2018). Processors with AVX512-BF16 would be 1.7 times as fast, too, but some gradients are wrong
    there: of torch 2.14.1 those of the weights of a convolution 3 wide over a map 2 deep are numbers left in memory.

    Args:
        wanted: as configured.
        cuda: the devices are those of CUDA; else the processor computes.
    """
    if wanted != "auto":
        return wanted
    return HALF if cuda and cuda_has_bfloat16() else FULL


def cuda_has_bfloat16() -> bool:
    """Tell whether the CUDA device computes in bfloat16 rather than imitating it."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)

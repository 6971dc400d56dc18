"""The numbers that a training computes in, where that is left to the device."""

from __future__ import annotations

import torch

FULL, HALF = "32-true", "bf16-mixed"


def settled(wanted: str, cuda: bool) -> str:
    """Settle `trainer.precision`: ``auto`` is bfloat16 where the device computes in it, else 32 bits.

    Weights, their gradients' sums and the optimizer stay in 32 bits either way (Micikevicius et al., Mixed Precision
    Training, ICLR 2018).

    Args:
        wanted: as configured.
        cuda: the devices are those of CUDA; else the processor computes.
    """
    if wanted != "auto":
        return wanted
    return HALF if (cuda_has_bfloat16() if cuda else processor_has_bfloat16()) else FULL


def cuda_has_bfloat16() -> bool:
    """Tell whether the CUDA device computes in bfloat16 rather than imitating it."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def processor_has_bfloat16() -> bool:
    """Tell whether the processor multiplies in bfloat16: AVX512-BF16, or AMX."""
    able = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in able)

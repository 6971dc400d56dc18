"""Random streams that depend on what is drawn, not on when: (seed, epoch, sample) -> a generator.

A sample is augmented alike whichever worker, rank or restart handles it, so a resumed run goes on as if it had
not stopped. Philox is counter-based: a stream costs a few microseconds and streams don't overlap.
"""

from __future__ import annotations

import hashlib

import numpy as np

_WORD = (1 << 64) - 1


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """Make a generator for one place in a run, e.g. ``stream(seed, "augment", epoch, sample)``."""
    text = "/".join(str(part) for part in (seed, *path))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def torch_seed(seed: int, *path: int | str) -> int:
    """Draw a 63-bit seed for `torch.manual_seed` from the same kind of stream."""
    return int(stream(seed, *path).integers(0, _WORD >> 1, dtype=np.int64))

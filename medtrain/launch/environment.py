"""The process's environment variables, which libraries write into: those of one job are none of the next one's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_environment() -> Iterator[None]:
    """Put the variables back at the end: addresses and ranks (torch, Lightning), seeds, what is trusted."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)

"""Warnings that are kept: what the log is warned of while numbers are made stands beside these numbers, too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Keeping(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().partition("\n")[0]
        if text not in self.texts:
            self.texts.append(text)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """Collect what medtrain's log is warned of in this block: the first line of each, once."""
    texts: list[str] = []
    handler, logger = _Keeping(texts), logging.getLogger("medtrain")
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)

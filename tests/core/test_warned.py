"""Warnings of the log that are kept: of medtrain alone, once, in this block only."""

from __future__ import annotations

import logging

from medtrain.core.warned import kept_warnings


def test_what_is_warned_of_in_a_block_is_kept_once() -> None:
    log = logging.getLogger("medtrain.metric.thresholds")
    log.warning("before")
    with kept_warnings() as outer:
        log.warning("%s: no case\nand its rows", "sick")
        with kept_warnings() as inner:
            log.warning("too few")
            log.warning("too few")
            log.info("a fact")
            logging.getLogger("torch").warning("of others")
    log.warning("after")
    assert inner == ["too few"] and outer == ["sick: no case", "too few"]

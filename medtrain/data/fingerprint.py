"""What tells two sets of cases apart, whatever the order of their rows: SHA-256 of sorted text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def digest(*columns: list[str]) -> str:
    """Hash rows, given by columns of equal length."""
    lines = sorted(map("\t".join, zip(*columns, strict=True)))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def row_texts(targets: NDArray[Any]) -> list[str]:
    """Write each row of targets as Python does; of a million rows few are different."""
    code = np.zeros(len(targets), np.int64)
    for column in targets.reshape(len(targets), -1).T:
        values, different = pd.factorize(column, use_na_sentinel=False)
        code = pd.factorize(code * len(different) + values)[0]
    _, first = np.unique(code, return_index=True)
    return np.array([str(targets[row].tolist()) for row in first], dtype=object)[code].tolist()


def label_digests(texts: Sequence[str]) -> list[str]:
    """Hash the labels of each case, written as text, to 12 hexadecimal digits; of a million few are different."""
    code, distinct = pd.factorize(pd.Series(texts, dtype=object))
    digests = [hashlib.sha256(text.encode()).hexdigest()[:12] for text in distinct]
    return [digests[number] for number in code.tolist()]

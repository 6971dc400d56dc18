"""Going on with a sweep: its own words again, for the jobs that came to no result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medtrain.config.strangers import refuse_word
from medtrain.core.errors import UsageError
from medtrain.io.yaml_file import read_yaml

SAVED = "multirun.yaml"  # Hydra writes it into a sweep's folder
_FREE = ("hydra.", "hydra/", "sweep.", "verb=", "trust=")  # may be other ones: memory, partition, launcher
_OF_A_SEARCH = re.compile(
    r"hydra/sweeper=optuna|hydra\.sweeper\.(n_trials|timeout|sampler|seed|parallel|pruner|inner_folds)=[\w.]+"
    r"|hydra\.sweeper\.objectives=\{[\w:, ]*\}"
)  # harmless


def words(tokens: Sequence[str], sweep: str | None) -> list[str]:
    """Read the words of the sweep that is to go on, those of `tokens` about the launcher in place of its own.

    Args:
        tokens: the command line's, quoted.
        sweep: the folder, from ``hydra.sweep.dir``.

    Raises:
        UsageError: no sweep there, or words that would make it another one.
    """
    if not sweep:
        raise UsageError(
            "sweep.retry needs -m (or submit) and hydra.sweep.dir=..., the folder of the sweep that is to go on"
        )
    file = Path(sweep) / SAVED
    if not file.is_file():
        raise UsageError(f"hydra.sweep.dir={sweep}: no sweep to go on with (it has no {SAVED})")
    try:
        saved = read_yaml(file)["hydra"]["overrides"]
        own = [str(word) for word in (*saved["task"], *saved["hydra"]) if not _is_of_a_start(str(word))]
    except (TypeError, KeyError) as error:
        raise UsageError(f"{file}: not the words of a sweep ({type(error).__name__}: {error})") from None
    given = {t.partition("=")[0] for t in tokens}
    for word in own:
        if word not in tokens and word.partition("=")[0] not in given and not _OF_A_SEARCH.fullmatch(word):
            refuse_word(word, file)
    other = [t for t in tokens if not t.startswith(_FREE) and t not in own]
    if other:
        raise UsageError(f"{other[0]}: sweep.retry goes on with the sweep as it was, and only hydra.* may be new")
    if "hydra/launcher" in given:
        given |= {w.partition("=")[0] for w in own if w.startswith("hydra.launcher.") and _leaves_slurm(tokens)}
    return [w for w in own if w.partition("=")[0] not in given] + list(tokens)


def _is_of_a_start(word: str) -> bool:
    return word.startswith(("hydra.sweep.dir=", "hydra.launcher.wait=", "hydra.mode=", "sweep.", "verb="))


def _leaves_slurm(tokens: Sequence[str]) -> bool:
    return "hydra/launcher=slurm" not in tokens

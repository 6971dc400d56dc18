"""predict with run=EXPORT: the exported network in this process, by medtrain's own readers and not the folder's file.

A folder may come from anywhere, and predict.py in it is a program; what it was made of lies here too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from medtrain.core.errors import UsageError
from medtrain.core.extras import needs
from medtrain.export import runtime
from medtrain.export.folder import PROGRAM, check_facts, network_of, read_facts

TAKEN = ("run", "input", "output", "data.batch_size", "debug", "trust")


def main(given: Mapping[str, str]) -> int:
    """Predict by an export; the exit code as of `predict`.

    Args:
        given: the overrides of the command line.

    Raises:
        UsageError: a key that an export has no use for, or a package that it needs lacks.
    """
    for key, value in given.items():
        if key not in TAKEN:
            raise UsageError(f"{key}={value}: an export takes {', '.join(TAKEN[1:4])}; name the run itself for more")
    if not given.get("input") or not given.get("output"):
        raise UsageError("predict needs run=DIR, input=PATH (a file, folder or table) and output=FILE.csv")
    folder = Path(given["run"])
    facts = read_facts(folder)
    words = [given["input"], given["output"]]
    if "data.batch_size" in given:
        words += ["--batch-size", given["data.batch_size"]]
    try:
        network = network_of(facts["format"])
    except ImportError as error:
        raise needs(f"run={folder}", str(error.name), error) from error
    if network.carries_code:
        raise UsageError(
            f"run={folder}: a file of {facts['format']} may carry code, which is not run from a folder that may come "
            f"from anywhere; if it is yours: python {folder / PROGRAM} INPUT OUTPUT"
        )
    check_facts(folder, facts)
    program = importlib.import_module(f"{runtime.__name__}.{facts['program']}")
    try:
        return int(program.main(network, folder, words))
    except SystemExit as stopped:  # of the words: argparse has told what is wrong with them
        return 2 if stopped.code else 0

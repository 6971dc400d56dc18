"""Paths as people have them, written so that Hydra reads them back unchanged.

Hydra's override grammar gives a meaning to spaces, commas, ``=``, ``#``, brackets and more. A path isn't a
program: what stands behind `run=`, `input=` and the like is quoted whole before Hydra sees it.
"""

from __future__ import annotations

import os

from medtrain.core.errors import UsageError
from medtrain.data import source

WHOLE = ("filter", "patient_pattern", "path_format")  # a query, a pattern, a form: a comma in them separates nothing
LISTS = ("runs", "annotations")  # their value may be a list in brackets
# Keys whose value is text, by their last component: paths, and names that may look like numbers.
TEXT_KEYS = source.path_names() | {
    *("run", "runs", "input", "output", "dir", "weights", "resume", "init_from", "baseline", "name", "format", *WHOLE)
}


def quote_paths(tokens: list[str], multirun: bool) -> list[str]:
    """Quote the values of text keys in command-line overrides.

    Under `multirun` a comma separates values, unless a path of the whole text exists.
    """
    return [_quote_token(token, multirun) for token in tokens]


def path_list(key: str, named: list[str], tokens: list[str]) -> str:
    """Write the override that gives `key` the paths `named`, which stand without a key among the `tokens`.

    Raises:
        UsageError: a path that can't be quoted, or the key has a value already.
    """
    if any(token.startswith(f"{key}=") for token in tokens):
        raise UsageError(f"{key} are given twice: as words and by {key}=; name all of them in one way")
    for path in named:
        _refuse_interpolation(key, path)
    return f"{key}=[{','.join(map(_quoted, named))}]"


def _refuse_interpolation(key: str, path: str) -> None:
    if "${" in path:
        raise UsageError(f"{key}={path}: a path can't hold '${{' (it starts an interpolation); rename the folder")


def _quote_token(token: str, multirun: bool) -> str:
    key, equals, value = token.partition("=")
    if not equals or key.lstrip("+").rpartition(".")[2] not in TEXT_KEYS or value in ("", "null", "???"):
        return token
    if key.startswith("hydra.") and "${" in value:
        return token  # folders of runs may be patterns: hydra.run.dir=runs/${now:%Y}
    if not key.endswith(("weights", "dir")):
        _refuse_interpolation(key, value)
    if os.path.exists(value) or (key.endswith(WHOLE) and value[0] not in "'\""):
        return f"{key}={_quoted(value)}"
    if _is_quoted(value):
        return token
    several = key.endswith(LISTS) or (key.endswith("data.root") and "," in value)
    if several and value[0] == "[" and value[-1] == "]":
        items = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        return f"{key}=[{','.join(item if _is_quoted(item) else _quoted(item) for item in items)}]"
    if multirun and "," in value:
        return f"{key}={','.join(part if part == 'null' else _quoted(part) for part in value.split(','))}"
    return f"{key}={_quoted(value)}"


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=text, quote=Quote.single).with_quotes()

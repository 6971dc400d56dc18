"""How a file's tensors lie in a network: under which prefix, in which part, what is surplus and what is lacking.

Files come from many trainers: wrapped by DDP (``module.``), Lightning (``model.``), a compiler (``_orig_mod.``), a
self-supervised method (``encoder_q.``, ``backbone.``), and published files name a backbone alone. So the prefix is
looked for rather than listed: the one under which most tensors have a place of their shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from medtrain.model.head import Head

State = Mapping[str, Tensor]

_WITHIN = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|module)\."
)  # wrappers of a layer
_OLD_NAMES = (  # of torchvision's published files, and what the networks say today
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)
_CHOSEN = ("encoder_q.", "base_encoder.", "teacher.")  # of two equal networks in a file, the one that is for use
HEAD_LAYERS = (  # as libraries call what comes after the body; a network made without one has no such layer
    *("fc", "head", "heads", "classifier", "last_linear", "logits", "head_dist", "aux", "aux1", "aux2", "AuxLogits"),
    *("projector", "projection_head", "predictor", "prediction_head", "contrastive_head"),
)
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Placement:
    """Where a file's tensors lie.

    Args:
        state: by the network's names.
        prefix: under which the file has them.
        part: the beginning of the names of the part that the file is of; blank: the whole.
        surplus: of this network in the file, without a place in it.
        others: of other things in the file: a second network, a queue, a loss.
    """

    state: dict[str, Tensor]
    prefix: str
    part: str
    surplus: list[str]
    others: list[str]


def place(model: nn.Module, given: State) -> Placement:
    """Find the prefix and the part that fit best, and sort all tensors by them."""
    own, heads = model.state_dict(), head_names(model)
    prefix, part = _best(own, heads, _parts(model, own), given)
    tops = {name.removeprefix(part).partition(".")[0] for name in own if name.startswith(part)}
    state: dict[str, Tensor] = {}
    surplus: list[str] = []
    others: list[str] = []
    for key, value in given.items():
        names = [part + name.removeprefix(prefix) for name in _spellings(key) if name.startswith(prefix)]
        match = next((name for name in names if name in own), None)
        if match is not None:
            state[match] = value
        elif not key.endswith(_COUNTER):
            rests = [name.removeprefix(part) for name in names]
            is_of_it = any(rest.partition(".")[0] in tops and not rest.startswith(heads) for rest in rests)
            (surplus if is_of_it else others).append(key)
    return Placement(state, prefix, part, surplus, others)


def lacking(model: nn.Module, placement: Placement) -> list[str]:
    """List what a file has not of the body of the part that it is of; layers that are always new are none of it."""
    new = [f"{name}." for name, module in model.named_modules() if getattr(module, "of_head", False)]
    beside = (*new, *head_names(model))
    return [
        name
        for name in model.state_dict()
        if name.startswith(placement.part)
        and name not in placement.state
        and not name.endswith(_COUNTER)
        and not name.startswith(beside)
    ]


def head_names(model: nn.Module) -> tuple[str, ...]:
    """List the beginnings of names of a head's tensors: of layers of logits, and of what libraries call so."""
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    logits = [path for path in linear if isinstance(model.get_submodule(path), Head)] or linear[-1:]
    own = getattr(model, "heads", ())  # torchvision's ViT calls a layer so
    return (*(() if isinstance(own, nn.Module) else own), *(f"{name}." for name in (*logits, *HEAD_LAYERS) if name))


def beneath(key: str, prefix: str) -> str | None:
    """Give a key without a prefix and without the wrappers of layers; None where it lies elsewhere in the file."""
    return next((name.removeprefix(prefix) for name in reversed(_spellings(key)) if name.startswith(prefix)), None)


def _parts(model: nn.Module, own: State) -> list[str]:
    """List the beginnings of names that a file may leave out: none, those that the network tells, a large child's."""
    children = [f"{name}." for name, _ in model.named_children()]
    large = [child for child in children if sum(name.startswith(child) for name in own) > len(own) / 2]
    return list(dict.fromkeys(["", *getattr(model, "inner", ()), *large]))


def _best(own: State, heads: tuple[str, ...], parts: Sequence[str], given: State) -> tuple[str, str]:
    """Find (prefix of the file, part of the network) under which most tensors of the body fit, and then most names."""
    by_name: Counter[tuple[str, str]] = Counter()
    by_shape: Counter[tuple[str, str]] = Counter()
    for key, value in given.items():
        for prefix, part, name in _places(key, parts):
            if name in own and not name.endswith(_COUNTER):
                by_name[prefix, part] += 1
                by_shape[prefix, part] += own[name].shape == value.shape and not name.startswith(heads)

    def rank(pair: tuple[str, str]) -> tuple[int, bool, int, int, int]:
        prefix, part = pair
        chosen = any(f".{name}" in f".{prefix}" for name in _CHOSEN)  # also further in: teacher.backbone.
        return by_shape[pair], chosen, by_name[pair], -parts.index(part), -len(prefix)

    return max(by_name, key=rank, default=("", ""))


def _places(key: str, parts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Go through what a key could mean: (prefix, part, name in the network), each once."""
    seen = set()
    for spelt in _spellings(key):
        starts = [0, *(dot.end() for dot in re.finditer(r"\.", spelt))]
        for start in starts:
            for part in parts:
                place = spelt[:start], part, part + spelt[start:]
                if place not in seen:
                    seen.add(place)
                    yield place


def _spellings(key: str) -> list[str]:
    """Spell a key as it is, without the wrappers of layers, and as the networks are called today."""
    bare = _WITHIN.sub("", key)
    return list(
        dict.fromkeys(name for base in (key, bare) for name in (base, *(o.sub(n, base) for o, n in _OLD_NAMES)))
    )

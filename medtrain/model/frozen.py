"""Weights of a network that stays as it is: all of it from the file, but for the classifier that it was cut from.

A network that goes on learning may begin with a fresh layer; one that never learns would give features that are partly
random. So here nothing of the body may lack, be of another shape, or be left over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from medtrain.core.errors import MedtrainError
from medtrain.model.numbers import refuse_numbers
from medtrain.model.placement import HEAD_LAYERS, beneath, place
from medtrain.model.weights import first_of

log = logging.getLogger(__name__)

_COUNTER = "num_batches_tracked"  # of BatchNorm; it has no part in evaluation
_NO_PART = ("mask_token",)  # stands for hidden patches in training; no picture to be encoded has any
_COMPUTED = ("relative_position_index", "attn_mask", "relative_coords_table")  # from the architecture alone


def load_whole(network: nn.Module, given: Mapping[str, Tensor], classifier: Sequence[str] = ()) -> None:
    """Load all tensors of a network that has no classifier, in place; ``network.loaded`` says in numbers what fitted.

    Args:
        network: without its classifier.
        given: names and tensors, under any common prefix; see `medtrain.model.placement`.
        classifier: names of the layers that were cut off; what libraries usually call so is known.

    Raises:
        MedtrainError: a tensor of the network is lacking or of another shape, or the file has one of the body that
            finds no place, so that its features would not be the file's, or numbers that can't be weights; the
            message counts each, and names the first.
    """
    own, placed = network.state_dict(), place(network, given)
    name, state = type(network).__name__, placed.state
    refuse_numbers(name, state, own)
    beheaded = tuple(f"{layer}." for layer in (*classifier, *HEAD_LAYERS))
    cut, elsewhere, surplus = _sorted_rest(given, placed.prefix, {*placed.surplus, *placed.others}, beheaded)
    lacking = [key for key in own if key not in state and not key.endswith(_COUNTER)]
    unlike = [
        f"{key} {list(value.shape)} for {list(own[key].shape)}"
        for key, value in state.items()
        if value.shape != own[key].shape
    ]
    faults = [f"{len(lacking)} of its own are lacking ({first_of(lacking)})"] * bool(lacking)
    faults += [f"{len(unlike)} have another shape ({first_of(unlike)})"] * bool(unlike)
    faults += [f"{len(surplus)} of the file's have no place in it ({first_of(surplus)})"] * bool(surplus)
    if not state:
        raise MedtrainError(f"no key matches this {name}: it has {first_of(list(own))}; given {first_of(list(given))}")
    if faults:
        raise MedtrainError(
            f"weights of another network than this {name}, which never learns and so must be loaded whole: the file "
            f"has {len(state) - len(unlike)} of its {len(own)} tensors, {', '.join(faults)}; "
            "take the name and the arguments that the file was published with"
        )
    network.load_state_dict(state, strict=False)
    summary = [f"{len(state)} of {len(own)} tensors loaded"]
    summary += [f"{len(cut)} of a classifier left out ({first_of(cut)})"] * bool(cut)
    summary += [f"{len(elsewhere)} of the file are not of this network ({first_of(elsewhere)})"] * bool(elsewhere)
    network.loaded = "; ".join(summary)  # type: ignore[assignment]
    log.info("%s", network.loaded)


def _sorted_rest(
    given: Mapping[str, Tensor], prefix: str, rest: set[str], classifier: tuple[str, ...]
) -> tuple[list[str], list[str], list[str]]:
    """Sort what found no place: of the classifier, outside the network's prefix, and of the body."""
    cut, elsewhere, surplus = [], [], []
    for key in (key for key in given if key in rest):
        name = beneath(key, prefix)
        if name is None:
            elsewhere.append(key)
        elif name.startswith(classifier):
            cut.append(key)
        elif name not in _NO_PART and not name.endswith(_COMPUTED):
            surplus.append(key)
    return cut, elsewhere, surplus

"""Trainings on features: an `encoder` before pictures or volumes makes bags of them, from which a probe learns.

Slides and bags are trained so anyway. Here is what else follows in a configuration, so that a saved one says it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.data.source import sources
from medtrain.io.yaml_file import read_yaml

KIND = "bag"  # of networks that learn from features
ELSEWHERE = "make its features with the program that publishes it, and read them with data=feature_bags"
NOT_OFFERED = {  # names that people look for, why they are not to be had
    "conch_v1_5": "CONCH v1.5's layout is published under CC BY-NC-ND with TITAN alone",
    "titan": "TITAN encodes slides from features of CONCH v1.5, under CC BY-NC-ND",
    "musk": "MUSK needs its own library, torchscale's BEiT-3",
    "keep": "KEEP runs code from its hub",
    "prism": "PRISM encodes slides from features of Virchow",
    "path_foundation": "Path Foundation is a TensorFlow model",
}
SPELLINGS = {  # as other programs have them, without signs
    **dict.fromkeys(("conchv15", "conchv1.5", "conch15", "conch1.5"), "conch_v1_5"),
    **dict.fromkeys(("univ1", "mahmooduni"), "uni"),
    **dict.fromkeys(("univ2", "uni2h"), "uni2"),
    **dict.fromkeys(("conchv1",), "conch"),
    **dict.fromkeys(("provgigapath",), "gigapath"),
    **dict.fromkeys(("midnight12k",), "midnight"),
    **dict.fromkeys(("phikonv1",), "phikon"),
    **{f"kaikovit{size}": f"kaiko_{size}" for size in ("s8", "s16", "b8", "b16", "l14")},
    **{f"lunitvit{size}": f"lunit_{size}" for size in ("s8", "s16")},
}
SLICES = {"classification": "probe"}  # of a task on cases themselves, and on their features


def on_features(cfg: Mapping[str, Any] | DictConfig) -> bool:
    """Tell whether cases become features before a network sees them, which an encoder node alone makes them."""
    source = sources().get(str((cfg.get("data") or {}).get("name")))
    return source is not None and source.features_with(cfg.get("encoder"))


def by_another_name(name: str, options: Collection[str]) -> str | None:
    """Say of an encoder that is no option what it is called here, or why it is not to be had; None of others."""
    plain = re.sub(r"[^a-z0-9.]", "", name.lower())
    known = {re.sub(r"[^a-z0-9.]", "", option): option for option in (*options, *NOT_OFFERED)} | SPELLINGS
    meant = known.get(plain)
    if meant in NOT_OFFERED:
        return f"{NOT_OFFERED[str(meant)]}; {ELSEWHERE}"
    return f"it is encoder={meant} here" if meant else None


def settle(cfg: DictConfig) -> None:
    """Name the slice of the task that learns from features, and no augmentation, as pixels are seen but once.

    Raises:
        UsageError: the task has no such slice, or mixes pixels.
    """
    back = {probe: whole for whole, probe in SLICES.items()}
    own = str(cfg.task.get("slice"))
    whole = back.get(own, own)
    with open_dict(cfg):
        if not on_features(cfg):
            if cfg.get("encoder") and cfg.task.get("kind") != KIND:
                raise UsageError(f"encoder=: task={cfg.task.name} doesn't learn from features; leave it out")
            if own in back:
                cfg.task.slice = whole
            return
        if whole not in SLICES:
            raise UsageError(f"encoder=: task={cfg.task.name} doesn't learn from features; leave it out")
        if cfg.task.get("mixup"):
            raise UsageError(
                f"task.mixup={cfg.task.mixup}: features are computed once, of whole pictures; leave it or encoder= out"
            )
        cfg.task.slice = SLICES[whole]
        cfg.augment = OmegaConf.create(read_yaml(search.packaged_folder() / "augment" / "none.yaml"))

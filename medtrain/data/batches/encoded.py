"""Pictures and volumes as bags of features: what a frozen encoder makes of their pieces, computed once and kept.

A picture is a bag of one, a volume a bag of its slices, so that whatever learns from bags learns from them. Rows,
splits, contents and pictures of reports are those of the data without an encoder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.base import Data
from medtrain.data.batches.bags import BagData
from medtrain.data.batches.packed import CaseBags
from medtrain.data.batches.pictures import scaled
from medtrain.data.batches.pieces import Pieces
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.rows.manifest import Manifest
from medtrain.encoder import Encoder
from medtrain.io.cache_root import cache_root
from medtrain.io.store.features import PackedBags
from medtrain.io.store.vectors import VERSION, Cases, keep_vectors

USUAL = {"standardise": True, "instances": 16384, "max_instances": None}  # of bags, where a data node has no such key
PICTURES = 64  # that are encoded together, at most


class EncodedData(BagData):
    """Features of pictures or volumes; see `BagData` for batches and `Data` for arguments and attributes.

    Args:
        read_by: the class that reads such cases.
        encoder: pictures to features.

    Attributes:
        whole_cases: the cases as they are without an encoder.
        pieces: what each consists of; known after `prepare`, as `files`, what reading them has shown.
    """

    pieces: Pieces
    files: Files

    def __init__(
        self,
        cfg: Mapping[str, Any],
        *,
        read_by: type[Data],
        encoder: Encoder,
        **options: Any,
    ) -> None:
        super().__init__(USUAL | dict(cfg), encoder=encoder, **options)
        self.whole_cases = read_by(cfg, report=self.report, progress=self.progress)
        self.noun = self.whole_cases.noun
        if cfg.get("patch_label") == "mask":
            raise UsageError("data.patch_label=mask: features are kept by case, and so are labels; leave out encoder=")

    def inputs(self, path: Path) -> Manifest:
        return self.whole_cases.inputs(path)

    def arrange(self, manifest: Manifest) -> Manifest:
        manifest = super().arrange(self.whole_cases.arrange(manifest))
        target = self.fixed.spec.target if self.fixed.spec else manifest.target
        if target is not None:
            self.whole_cases.spec = self.whole_cases.describe(replace(manifest, target=target))
        self.noun = self.whole_cases.noun
        return manifest

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        self.files = self.whole_cases.read(manifest, everything)
        return replace(self.files, problems=super().read(manifest).problems)

    def _open(self, rows: Manifest) -> None:
        pieces = self.pieces = self.whole_cases.pieces_of(rows)
        encoder = self.encoder
        assert encoder is not None
        if encoder.random and not self.synthetic:
            raise UsageError(
                f"encoder: {encoder.label}; features of an untrained network are no features of real {self.noun}. Give "
                "trained ones (encoder.weights=FILE or a name)"
            )
        self._tell_enlarged(pieces)
        self.bags = encoded(pieces, encoder, self)
        self._identities = list(self.files.identities)

    def _tell_enlarged(self, pieces: Pieces) -> None:
        """Tell that an encoder wants more pixels than are there."""
        assert self.encoder is not None
        wanted = self.encoder.preprocessing.resize or self.encoder.preprocessing.size
        if wanted is not None and min(pieces.size) < wanted:
            side = " x ".join(map(str, pieces.size))
            key = f"data.image_size={wanted}" if pieces.colours else "a larger data.patch_size"
            self.report(
                f"{pieces.noun} of {side} px are enlarged to the encoder's {wanted}; where the files have more, {key} "
                "keeps what they show"
            )

    @property
    def made(self) -> int:
        """Count the cases whose features were computed now."""
        return self.bags.packed if isinstance(self.bags, PackedBags) else 0

    @property
    def encoded(self) -> list[str]:
        assert self.encoder is not None
        made = f"{self.spec.channels:,} features of each of {self.bags.lengths.sum():,} {self.pieces.noun}"
        lines = [
            f"encoder: {self.encoder.label}, {made}, {self.made:,} {self.noun} encoded now; kept, so not augmented"
        ]
        return lines + [f"encoder.weights: {self.encoder.loaded}"] * bool(self.encoder.loaded)

    def settle(self) -> None:
        super().settle()
        whole = self.whole_cases
        whole.cases, whole.slots, whole.readable, whole.errors = self.cases, self.slots, self.readable, self.errors
        whole.members, whole.listed_rows = self.members, self.listed_rows
        whole.columns, whole.spec = self.columns, replace(whole.spec, covariates=self.spec.covariates)

    def dataset(self, rows: Rows) -> CaseBags:
        members = [self.members[slot] for slot in self.slots[rows]]
        return CaseBags(self.bags, members, np.asarray(rows, np.int64), self.y(rows))

    def pixels(self, cases: Sequence[str]) -> NDArray[Any] | None:
        return self.whole_cases.pixels(cases)

    ahead = 2

    @property
    def workers(self) -> int:
        return 0  # what is mapped already is copied sooner than handed over by another process


def encoded(pieces: Pieces, encoder: Encoder, data: EncodedData) -> PackedBags:
    """Open the features of all cases that can be read, computed where the store lacks them."""
    how = [VERSION, encoder.fingerprint(), dict(pieces.how)]
    key = hashlib.sha256(json.dumps(how, default=list).encode()).hexdigest()[:16]
    folder = cache_root(data.cfg.get("cache_dir")) / "features" / key
    problems = dict(data.files.problems)
    number, device = len(data.files.identities), "cuda" if torch.cuda.is_available() else "cpu"
    named = pieces.names()
    if named is None:  # known by what they are
        hashes = ["" if n in problems else pieces.content(n).hex() for n in range(number)]
        named = hashes, np.zeros((number, 2), np.int64)

    def encode(numbers: Sequence[int]) -> list[NDArray[np.float32]]:
        parts = pieces.of(numbers) if numbers else []
        features = [of_pictures(part, encoder.to(device), pieces.colours) for part in together(parts)]
        return apart(features, [len(part) for part in parts])

    cases = Cases(*named, pieces.content, encode, pieces.at_once)
    try:
        return keep_vectors(folder, cases, problems, data.progress, data.report)
    finally:
        encoder.to("cpu")


def together(parts: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Put the pieces of several cases into batches, in order."""
    whole = np.concatenate(list(parts)) if parts else np.empty((0,))
    return [whole[start : start + PICTURES] for start in range(0, len(whole), PICTURES)]


def apart(features: Sequence[NDArray[np.float32]], lengths: Sequence[int]) -> list[NDArray[np.float32]]:
    """Give each case its own features again."""
    return np.split(np.concatenate(list(features)), np.cumsum(lengths)[:-1]) if features else []


def of_pictures(x_NCHW: NDArray[Any], encoder: Encoder, colours: bool) -> NDArray[np.float32]:
    """Encode pictures: (N, D); where their channels are no colours, each alone, side by side: (N, C * D).

    Raises:
        MedtrainError: features that are no numbers.
    """
    device = next((tensor.device for tensor in encoder.state_dict().values()), torch.device("cpu"))
    x = torch.from_numpy(x_NCHW) if x_NCHW.dtype.kind == "f" else scaled(x_NCHW)
    features = encode_channels(encoder, x.to(device), colours).cpu().numpy()
    if not np.isfinite(features).all():
        raise MedtrainError(f"encoder: {encoder.label} gives features that are no numbers")
    return features


def encode_channels(encoder: Encoder, x_NCHW: Tensor, colours: bool) -> Tensor:
    """Encode pictures, uint8 or in 0..1, as `of_pictures` does."""
    if x_NCHW.shape[1] == 3 and colours:
        features: Tensor = encoder(x_NCHW.permute(0, 2, 3, 1))
        return features
    grey_MHW3 = x_NCHW.flatten(0, 1)[..., None].expand(-1, -1, -1, 3)
    alone: Tensor = encoder(grey_MHW3)
    return alone.reshape(x_NCHW.shape[0], -1)  # not len(), a constant to a tracer

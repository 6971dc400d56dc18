"""Pictures to features: a vector each, in files for `data=feature_bags`, beside a table of labels and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.progress import Progress
from medtrain.data.batches.images import ImageData
from medtrain.encoder import Encoder
from medtrain.io.cache_root import writing_to
from medtrain.io.files import write_text
from medtrain.io.trident import read_own, write_trident
from medtrain.target.table import PredictionColumns

TABLE = "features.csv"


@dataclass
class PictureEmbedder:
    """What one folder of features is made with.

    Args:
        encoder: pictures (B, H, W, 3) uint8 to features.
        folder: where a file a picture lies, named by its case and content, and ``features.csv``.
        batch: pictures that are encoded together.
        progress: called with pictures done and in all.
        report: takes a line on what is worth telling.
    """

    encoder: Encoder
    folder: Path
    batch: int
    progress: Progress | None
    report: Callable[[str], None]

    def embed(self, data: ImageData) -> tuple[int, int]:
        """Encode what is not there yet and list all cases; how many cases there are, and how many files were made now.

        Raises:
            UsageError: random weights on real pictures. MedtrainError: the folder holds features made otherwise.
        """
        if self.encoder.random and not data.synthetic:
            raise UsageError(
                f"encoder: {self.encoder.label}; features of an untrained network are no features of real pictures. "
                "Give trained ones (encoder.weights=FILE or a name)"
            )
        self._tell_enlarged(data)
        cases = data.cases["case"].tolist()
        names = [
            hashlib.sha256(f"{case}\n{what}".encode()).hexdigest()[:24]
            for case, what in zip(cases, data.content, strict=True)
        ]
        how = {"encoder": f"{self.encoder.label} {self.encoder.fingerprint()}", "form": str(asdict(data.form))}
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            missing = [number for number, name in enumerate(names) if not self._there(name, how)]
            for start in range(0, len(missing), self.batch):
                part = missing[start : start + self.batch]
                for number, features in zip(part, self._encode(data, [cases[n] for n in part]), strict=True):
                    self._write(names[number], features, how)
                if self.progress is not None:
                    self.progress(min(start + self.batch, len(missing)), len(missing))
            self._write_table(data, names)
        return len(cases), len(missing)

    def _tell_enlarged(self, data: ImageData) -> None:
        wanted = self.encoder.preprocessing.size
        if wanted is not None and min(data.spec.size) < wanted:
            side = " x ".join(map(str, data.spec.size))
            self.report(
                f"pictures are kept at {side} px (data.image_size) and enlarged to the encoder's {wanted}; where the "
                f"files are larger, data.image_size={wanted} keeps what they show"
            )

    def _there(self, name: str, how: dict[str, str]) -> bool:
        file = self.folder / f"{name}.h5"
        if not file.is_file():
            return False
        own = read_own(file)
        if own is None or own.get("how") != how:
            before = "not by medtrain" if own is None else f"by {own.get('how')}"
            raise MedtrainError(f"{file} was made {before}, now it would be {how}; give another folder: output=FOLDER")
        return True

    def _encode(self, data: ImageData, cases: list[str]) -> NDArray[np.float16]:
        x_BCHW = np.asarray(data.pixels(cases))
        if x_BCHW.dtype != np.uint8:
            x_BCHW = (x_BCHW // 257).astype(np.uint8)
        x_BCHW = np.repeat(x_BCHW, 3, 1) if x_BCHW.shape[1] == 1 else x_BCHW
        device = "cuda" if torch.cuda.is_available() else "cpu"
        pictures: Tensor = torch.from_numpy(np.ascontiguousarray(x_BCHW.transpose(0, 2, 3, 1)))
        features = self.encoder.to(device)(pictures.to(device)).float().cpu().numpy()
        if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
            raise MedtrainError(f"{self.encoder.label} gives features that are no numbers, or beyond what 16 bits hold")
        return features.astype(np.float16)

    def _write(self, name: str, features_D: NDArray[np.float16], how: dict[str, str]) -> None:
        nowhere = np.zeros((1, 2), np.int64)  # a picture is one tile, whose place says nothing
        attributes = {"name": name, "patch_size": 1, "patch_size_level0": 1}
        write_trident(
            self.folder / f"{name}.h5", features_D[None], nowhere, attributes, self.encoder.label, {"how": how}
        )

    def _write_table(self, data: ImageData, names: list[str]) -> None:
        """Write a row a case: its file, patient, split and labels as `data=feature_bags` takes them."""
        assert data.targets is not None
        table = pd.DataFrame({"bag": [f"{name}.h5" for name in names], **data.cases[["case", "patient", "split"]]})
        target = data.spec.target
        if not isinstance(target, PredictionColumns):
            raise UsageError("embed lists pictures with labels of classes only; data.columns.label names other values")
        labels = target.named("label", data.targets)
        write_text(self.folder / TABLE, table.assign(**labels).to_csv(index=False))

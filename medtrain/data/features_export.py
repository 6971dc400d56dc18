"""Features of pictures and volumes in files for `data=feature_bags` and other programs, with a table of labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.batches.encoded import EncodedData
from medtrain.io.cache_root import writing_to
from medtrain.io.files import write_text
from medtrain.io.trident import read_own, write_trident
from medtrain.target.table import PredictionColumns

TABLE = "features.csv"


def export_features(data: EncodedData, folder: Path) -> int:
    """Write a file a case and ``features.csv``: bag, case, patient, split and labels; what is there is left.

    Returns:
        How many files were written now.

    Raises:
        UsageError: labels that are no classes. MedtrainError: the folder holds features made otherwise, or they are
            beyond what 16 bits hold.
    """
    target, encoder = data.spec.target, data.encoder
    assert data.targets is not None and encoder is not None
    if not isinstance(target, PredictionColumns):
        raise UsageError("embed lists cases with labels of classes only; data.columns.label names other values")
    how = {"encoder": f"{encoder.label} {encoder.fingerprint()}", "form": str(dict(data.pieces.how))}
    texts = (f"{case}\n{what}" for case, what in zip(data.cases["case"], data.content, strict=True))
    names = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        missing = [number for number, name in enumerate(names) if not _there(folder / f"{name}.h5", how)]
        for number in missing:
            _write(data, number, folder / f"{names[number]}.h5", how)
        table = pd.DataFrame({"bag": [f"{name}.h5" for name in names], **data.cases[["case", "patient", "split"]]})
        write_text(folder / TABLE, table.assign(**target.named("label", data.targets)).to_csv(index=False))
    return len(missing)


def _there(file: Path, how: dict[str, str]) -> bool:
    if not file.is_file():
        return False
    own = read_own(file)
    if own is None or own.get("how") != how:
        before = "not by medtrain" if own is None else f"by {own.get('how')}"
        raise MedtrainError(f"{file} was made {before}, now it would be {how}; give another folder: output=FOLDER")
    return True


def _write(data: EncodedData, number: int, file: Path, how: dict[str, str]) -> None:
    features_ND = np.concatenate([data.bags.instances(bag) for bag in data.members[data.slots[number]]])
    assert data.encoder is not None
    if np.abs(features_ND).max() > np.finfo(np.float16).max:
        raise MedtrainError(f"{data.encoder.label} gives features beyond what 16 bits hold")
    nowhere = np.zeros((len(features_ND), 2), np.int64)  # pieces lie in no plane of a slide
    attributes = {"name": file.stem, "patch_size": 1, "patch_size_level0": 1}
    write_trident(file, features_ND.astype(np.float16), nowhere, attributes, data.encoder.label, {"how": how})

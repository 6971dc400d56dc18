"""Changes that leave a file's meaning as it is, drawn from a seed, and whether results stayed equal: for hostile.py.

What a table, picture, volume, bag or configuration means does not hang on the order of its keys, on how it was packed
or on remarks beside its data; so a result from the changed file has to be that from the unchanged one. Of what trains,
rows stay in their order, by which a seed draws them, and so do parts of a network, which are built one after another.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEAR = 1e-5  # of a probability: rows in another order make other batches, which round otherwise


def table_same(rng: random.Random, raw: bytes) -> bytes:
    """Write a CSV with its rows in another order, too."""
    header, *rows = raw.decode().splitlines()
    return columns_same(rng, "\n".join([header, *rng.sample(rows, len(rows))]).encode())


def columns_same(rng: random.Random, raw: bytes) -> bytes:
    """Write a CSV with its columns in another order, another separator, line end, quoting or mark."""
    header, *rows = list(csv.reader(io.StringIO(raw.decode())))
    order = list(range(len(header)))
    rng.shuffle(order)
    text = io.StringIO()
    writer = csv.writer(
        text,
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        delimiter=rng.choice(",;\t"),
        lineterminator=rng.choice(("\n", "\r\n")),
    )
    writer.writerows([[row[i] for i in order] for row in (header, *rows)])
    content = text.getvalue() + rng.choice(("", "\n", "\n\n"))
    return content.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))


def picture_same(rng: random.Random, raw: bytes) -> bytes:
    """Pack a PNG otherwise, with a remark."""
    from PIL import Image, PngImagePlugin

    remark, out = PngImagePlugin.PngInfo(), io.BytesIO()
    remark.add_text("Comment", "x" * rng.randrange(1, 200))
    Image.open(io.BytesIO(raw)).save(out, "PNG", compress_level=rng.randrange(10), pnginfo=remark)
    return out.getvalue()


def dicom_same(rng: random.Random, raw: bytes) -> bytes:
    """Change what a DICOM says of the person, and add a private field."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(raw))
    dataset.PatientName = rng.choice(("X^Y", "", "\u00e9"))
    dataset.private_block(0x0011, "remarks", create=True).add_new(0x01, "LO", "x" * rng.randrange(1, 60))
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def volume_same(rng: random.Random, raw: bytes) -> bytes:
    """Write a NIfTI in the other byte order, or with another description."""
    import nibabel
    import numpy as np

    image = nibabel.Nifti1Image.from_bytes(raw)
    header = image.header.as_byteswapped() if rng.random() < 0.5 else image.header.copy()
    header["descrip"] = b"x" * rng.randrange(1, 79)
    data = np.asanyarray(image.dataobj).astype(header.get_data_dtype())
    return bytes(nibabel.Nifti1Image(data, image.affine, header).to_bytes())


def bag_same(rng: random.Random, raw: bytes) -> bytes:
    """Pack a bag's data sets otherwise, beside a remark."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(io.BytesIO(raw)) as before, h5py.File(Path(folder, "bag.h5"), "w") as after:
            for key, value in before.attrs.items():
                after.attrs[key] = value
            after.attrs["remark"] = "x" * rng.randrange(1, 99)
            for name, data in before.items():
                packed = after.create_dataset(name, data=data[...], compression=rng.choice(("gzip", "lzf", None)))
                for key, value in data.attrs.items():
                    packed.attrs[key] = value
        return Path(folder, "bag.h5").read_bytes()


def json_same(rng: random.Random, raw: bytes) -> bytes:
    """Write JSON with its keys in another order, indented or not."""
    return json.dumps(_shuffled(rng, json.loads(raw)), indent=rng.choice((None, 0, 7))).encode()


def yaml_same(rng: random.Random, raw: bytes) -> bytes:
    """Write YAML with its keys in another order, in lines or in brackets, beside a remark."""
    import yaml

    content = _shuffled(rng, yaml.safe_load(raw))
    style = rng.choice((True, False, None))
    return b"# a remark\n" + yaml.safe_dump(content, sort_keys=False, default_flow_style=style).encode()


def _shuffled(rng: random.Random, node: Any) -> Any:
    if isinstance(node, dict):
        if any(isinstance(value, dict) and "_target_" in value for value in node.values()):
            return node
        return {key: _shuffled(rng, node[key]) for key in rng.sample(list(node), len(node))}
    return [_shuffled(rng, item) for item in node] if isinstance(node, list) else node


SAME: dict[str, Callable[[random.Random, bytes], bytes]] = {
    ".csv": table_same,
    ".png": picture_same,
    ".dcm": dicom_same,
    ".nii": volume_same,
    ".h5": bag_same,
    ".json": json_same,
    ".yaml": yaml_same,
}


def results(here: Path) -> dict[str, Any]:
    """Read the predictions that a command left, {file: rows in an order of their own}."""
    files = [*here.glob("out.*"), *here.glob("run/test*/test_predictions.*"), *here.glob("new/test_predictions.*")]
    read = {}
    for file in files:
        text = file.read_text().replace(str(here), "")
        rows = json.loads(text) if file.suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
        if isinstance(rows, list):  # one row a case, or a box
            rows = sorted(({str(k): _value(v) for k, v in row.items()} for row in rows), key=lambda row: str(row))
        read[file.relative_to(here).as_posix()] = rows
    return read


def _value(text: Any) -> Any:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def equal(one: Any, other: Any) -> bool:
    """Tell whether two results are the same, numbers within `NEAR`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=NEAR) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)

"""Changes of bytes and fields, drawn from a seed, that make files faulty: for hostile.py."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

CELLS = (
    "", "nan", "N/A", "None", "-", "?", "1.0", "001", " 1", "1\u00a0", "-1", "1e309", "9" * 400, "A|B", "A;B",
    "['a', 'b']", "['a'", '["a"]', "../../etc/passwd", "/dev/zero", "C:\\x.png", "\x00", "\ud7ff", "=cmd()",
    "x" * 70_000, "${oc.env:HOME}", "\u202e", "true", "0x10", "train", "validate", ".", "..", "~", "new",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e309, 10**30, "", "x" * 10_000, [], {}, [[]], {"a": None}, "${seed}", "../x", "nan", [1] * 5000,
)  # fmt: skip


def bytes_changed(rng: random.Random, raw: bytes) -> bytes:
    """Flip, cut, double, blank or append bytes."""
    data, size = bytearray(raw), max(1, len(raw))
    way = rng.randrange(7)
    if way == 0:
        for _ in range(rng.choice((1, 3, 30, 300))):
            data[rng.randrange(size) % max(1, len(data))] = rng.randrange(256)
    elif way == 1:
        del data[rng.randrange(size) :]
    elif way == 2:
        start = rng.randrange(size)
        data[start:start] = data[start : start + rng.randrange(1, 2000)]
    elif way == 3:
        start = rng.randrange(size)
        stop = start + rng.randrange(1, 400)
        data[start:stop] = bytes(len(data[start:stop]))
    elif way == 4:
        data += rng.randbytes(rng.randrange(1, 5000))
    elif way == 5:  # the header, where fields are
        for _ in range(rng.randrange(1, 12)):
            data[rng.randrange(min(size, 400))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    else:
        data = bytearray(
            rng.choice((b"", b"\0" * 64, rng.randbytes(300), gzip.compress(raw[:5000]), b"PK\3\4", b"\xef\xbb\xbf"))
        )
    return bytes(data)


def table_changed(rng: random.Random, raw: bytes) -> bytes:
    """Change cells, columns or the form of a CSV."""
    rows = list(csv.reader(io.StringIO(raw.decode())))
    for _ in range(rng.choice((1, 1, 3, 20))):
        way = rng.randrange(8)
        row = rng.choice(rows)
        column = rng.randrange(max(1, len(row)))
        if way < 3 and row:
            row[column % len(row)] = rng.choice(CELLS)
        elif way == 3:
            value = rng.choice(CELLS)
            for other in rows[1:]:
                if column < len(other):
                    other[column] = value
        elif way == 4:
            rows.append(list(rng.choice(rows)))
        elif way == 5:
            for other in rows:
                other.append(other[column % len(other)] if other else "")
        elif way == 6:
            del row[rng.randrange(len(row) + 1) :]
        else:
            del rows[rng.randrange(len(rows)) :]
        rows = rows or [[""]]
    text = io.StringIO()
    csv.writer(text, delimiter=rng.choice((",", ",", ";", "\t"))).writerows(rows)
    content = text.getvalue().encode(errors="replace")
    form = rng.randrange(10)
    if form == 0:
        return content.decode(errors="replace").encode("utf-16")
    return gzip.compress(content) if form == 1 else content


def nodes_changed(rng: random.Random, content: Any) -> Any:
    """Replace, remove, rename or double some node of maps and lists."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        nodes = list(_nodes(content))
        if not nodes:
            return content
        place, key = rng.choice(nodes)
        way = rng.randrange(4)
        if way == 0:
            del place[key]
        elif way == 1 and isinstance(place, dict):
            place[rng.choice(("x", "_target_", "hydra", "0", "name"))] = deepcopy(place[key])
        elif way == 2 and isinstance(place, list):
            place.insert(0, deepcopy(place[key]))
        else:
            place[key] = deepcopy(rng.choice(VALUES))
    return content


def _nodes(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each map or list with each of its keys."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items):
        yield content, key
        yield from _nodes(value)


def json_changed(rng: random.Random, raw: bytes) -> bytes:
    return json.dumps(nodes_changed(rng, json.loads(raw))).encode()


def yaml_changed(rng: random.Random, raw: bytes) -> bytes:
    import yaml

    return yaml.safe_dump(nodes_changed(rng, yaml.safe_load(raw)), sort_keys=False).encode()


def weights_changed(rng: random.Random, raw: bytes) -> bytes:
    """Change what a checkpoint holds: keys that lack, tensors of other shapes, numbers that are none."""
    import torch

    content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    state = content.get("state_dict", content)
    name = rng.choice(sorted(state))
    way = rng.randrange(5)
    if way == 0:
        del state[name]
    elif way == 1:
        state[name] = state[name].flatten()[:1]
    elif way == 2:
        state[name] = torch.full_like(state[name], float("nan")) if state[name].is_floating_point() else state[name] - 9
    elif way == 3:
        content[rng.choice(sorted(content))] = rng.choice(VALUES)
    else:
        state["surplus"] = torch.zeros(3)
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


FIELDS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    ".csv": table_changed,
    ".json": json_changed,
    ".yaml": yaml_changed,
    ".ckpt": weights_changed,
}

"""Draws docs/images/augment.png: what each option of `augment` makes of a film, and of a picture of 28 px.

python scripts/augment_picture.py docs/images/augment.png [FILM.png]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw

from medtrain.augment.images import Augment2d
from medtrain.augment.views import Views2d
from medtrain.data.phantom.xray import make_phantom_xray

CONFIGS = Path(__file__).parents[1] / "configs" / "augment"
ROWS = (("light", 96), ("strong", 96), ("small", 28), ("eval.tta", 96))
SIDE, COUNT, LEFT = 96, 6, 64


def film(file: str | None) -> Image.Image:
    """The picture to change, square, grey; a synthetic film where none is named."""
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            make_phantom_xray(Path(folder), patients=3, image_size=256, seed=5)
            file = str(sorted(Path(folder).glob("images/*.png"))[0])
        values = np.asarray(Image.open(file), np.float32)
    grey = values.mean(2) if values.ndim == 3 else values
    side = min(grey.shape)
    return Image.fromarray((255 * grey / grey.max()).astype(np.uint8)).crop((0, 0, side, side))


def row(name: str, picture: Image.Image, side: int) -> torch.Tensor:
    """The picture as it is and five versions of it, (6, 1, side, side)."""
    small = picture.resize((side, side), Image.Resampling.BOX)
    x = torch.from_numpy(np.asarray(small, np.float32) / 255).reshape(1, 1, side, side)
    if name == "eval.tta":
        return torch.cat(list(Views2d(COUNT)(x)))
    options = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    augment = Augment2d(**{k: v for k, v in options.items() if k not in ("_target_", "kind")})
    return torch.cat([x, augment(x.expand(COUNT - 1, -1, -1, -1), torch.arange(COUNT - 1), 0, 0)])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("film", nargs="?", help="by default a synthetic one")
    given = parser.parse_args(argv)
    picture = film(given.film)
    sheet = Image.new("L", (LEFT + COUNT * SIDE, len(ROWS) * SIDE), 255)
    for i, (name, side) in enumerate(ROWS):
        ImageDraw.Draw(sheet).text((4, i * SIDE + SIDE // 2 - 6), name, fill=0)
        for j, version in enumerate(row(name, picture, side)):
            tile = Image.fromarray((255 * version[0].numpy()).astype(np.uint8))
            sheet.paste(tile.resize((SIDE - 2, SIDE - 2), Image.Resampling.NEAREST), (LEFT + j * SIDE, i * SIDE))
    sheet.quantize(32).save(given.output, optimize=True)


if __name__ == "__main__":
    main()

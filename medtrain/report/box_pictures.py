"""Films with predicted boxes over true ones: the worst, the best and some drawn at random."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.streams import stream
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.io.files import atomic_path, write_text
from medtrain.metric import HitRule, find_hits
from medtrain.report.detection import boxes_of, hit_rule
from medtrain.report.films import film_gallery
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.views import Section, section

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 448  # px, at least, of the longer side
TRUE, SAID = "#56B4E9", "#E69F00"
Drawn = tuple[NDArray[Any], Sequence[str], str]  # boxes in pixels of the film, a text each, colour


def write_box_pictures(
    folder: Path,
    pixels: Callable[[Sequence[str]], NDArray[Any] | None],
    places: Mapping[str, NDArray[Any]],
    most: int,
) -> None:
    """Write pictures/01.png, ... and pictures/pictures.csv of a run or test folder; none remain of an earlier run.

    Args:
        pixels: gives the films of cases by their names.
        places: (sx, sy, tx, ty) of each case: x_film = sx * x_original + tx.
        most: how many; 0 for none (pictures of patients then stay out of the folder and the report).
    """
    place = folder / "pictures"
    shutil.rmtree(place, ignore_errors=True)
    run = read_folder(folder)
    boxes = boxes_of(run)
    if boxes is None or run.truth is None or most <= 0:
        return
    truth, predicted = boxes
    limits = np.array([run.test["decision"]["thresholds"][name] for name in run.classes])
    predicted = predicted.select(predicted.score_N >= limits[predicted.label_N])
    table = chosen(counted(truth, predicted, hit_rule(run)), most)
    table["case"] = [str(run.truth["images"][i]["file_name"]) for i in table["image"]]
    films = pixels(table["case"].tolist())
    if films is None or table.empty:
        return
    table.insert(0, "picture", [f"{i + 1:02d}.png" for i in range(len(table))])
    for row, film_CHW in zip(table.to_dict("records"), films, strict=True):
        drawing = over_film(film_CHW, _drawn(truth, predicted, int(row["image"]), run.classes, places[row["case"]]))
        with atomic_path(place / str(row["picture"])) as temporary:
            drawing.save(temporary, format="PNG", optimize=True)
    write_text(place / "pictures.csv", table.drop(columns="image").to_csv(index=False))


def counted(truth: Truth, predicted: PredictedBoxes, rule: HitRule) -> pd.DataFrame:
    """Count in each image the lesions that were found and missed, and the boxes invented; a row an image."""
    hits, n = find_hits(truth, predicted, rule), len(truth)
    right, wrong = (np.bincount(hits.image_E[part], minlength=n) for part in (hits.true_E, ~hits.true_E))
    there = np.bincount(hits.image_M, minlength=n)
    return pd.DataFrame({"image": np.arange(n), "found": right, "missed": there - right, "false": wrong})


def chosen(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Choose up to `most` images in three equal parts: the most mistakes, the most right without mistakes, others."""
    part = max(1, most // 3)
    mistakes = table["missed"] + table["false"]
    worst = table[mistakes > 0].assign(n=mistakes).sort_values("n", ascending=False, kind="stable").head(part)
    clean = table[(mistakes == 0) & (table["found"] > 0)]
    best = clean.sort_values("found", ascending=False, kind="stable").head(part)
    left = table.drop([*worst.index, *best.index])
    count = min(len(left), most - len(worst) - len(best), part)
    drawn = left.iloc[np.sort(stream(0, "box pictures").permutation(len(left))[: max(count, 0)])]
    named = [part_table.assign(why=why) for why, part_table in (("worst", worst), ("best", best), ("random", drawn))]
    return pd.concat(named)[["image", "why", "found", "missed", "false"]].head(most).reset_index(drop=True)


def _drawn(
    truth: Truth, predicted: PredictedBoxes, image: int, classes: Sequence[str], place_4: NDArray[Any]
) -> list[Drawn]:
    true = truth.of(image)
    own = predicted.select(np.flatnonzero(predicted.image_N == image))
    names = ["" if len(classes) == 1 else classes[label] for label in truth.label_M[true]]
    scores = [
        f"{'' if len(classes) == 1 else classes[label] + ' '}{score:.2f}"
        for label, score in zip(own.label_N, own.score_N, strict=True)
    ]
    return [(on_film(truth.boxes_M4[true], place_4), names, TRUE), (on_film(own.boxes_N4, place_4), scores, SAID)]


def on_film(boxes_N4: NDArray[Any], place_4: NDArray[Any]) -> NDArray[Any]:
    """Move boxes from pixels of the original to pixels of the film."""
    return np.asarray(boxes_N4 * np.tile(place_4[:2], 2) + np.tile(place_4[2:], 2))


def over_film(film_CHW: NDArray[Any], layers: Sequence[Drawn]) -> Image:
    """Draw outlines and texts over the film, which is enlarged where it is small.

    Args:
        film_CHW: uint8 or uint16, of 1 or 3 channels.
        layers: boxes in pixels of the film, a text for each, and a colour; the last on top.
    """
    from PIL import Image, ImageDraw

    deep = film_CHW.dtype == np.uint16
    film = (film_CHW >> 8).astype(np.uint8) if deep else film_CHW
    image = Image.fromarray(film[0] if len(film) == 1 else np.moveaxis(film[:3], 0, -1)).convert("RGB")
    times = max(1, -(-SIDE // max(image.size)))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for boxes, texts, colour in layers:
        for (x0, y0, x1, y1), text in zip(np.asarray(boxes) * times, texts, strict=True):
            draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
            if text:
                draw.text((x0 + 3, max(0, y0 - 12)), text, fill=colour)
    return image


@section(forms={"boxes"})
def box_gallery(run: RunFolder) -> Section | None:
    """Show the pictures, with what was found, missed and invented."""
    text = (
        "What the network found (orange, with its score, from the threshold on) over what is true (blue): the "
        "cases with most mistakes, those with most lesions and no mistake, and some at random."
    )
    return film_gallery(run, text, lambda row: f"found {row['found']}, missed {row['missed']}, false {row['false']}")

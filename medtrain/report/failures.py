"""The worst mistakes, as pictures: what a radiologist asks for first.

They are chosen from the predictions and written into the run folder when it is made, while the data are at hand; the
report only shows them. Pixels are encoded anew at working size, so nothing of a file's header gets in.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.io.files import atomic_path, write_text
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.html import note, picture, section
from medtrain.report.words import number

SIDE = 224  # px at most
COLUMNS = ["picture", "case", "label", "truth", "prediction", "probability"]
Pixels = Callable[[Sequence[str]], NDArray[Any] | None]  # cases -> (B, C, H, W) uint8 or uint16, if they have any


def worst(run: RunFolder, most: int) -> pd.DataFrame:
    """The surest mistakes, kinds of mistakes in turn (misses and false alarms, or by true class); a case once.

    Returns:
        case, label, truth, prediction, and probability: that of the label (multiclass: of the true class). Sure means
        far from the truth.
    """
    predictions, classes = run.predictions(), run.classes
    if predictions is None or most <= 0:
        return pd.DataFrame(columns=COLUMNS[1:])
    target, said, probs = predictions.target_NC, predictions.predicted_NC, predictions.probs_NC
    wrong = np.isfinite(target) & np.isfinite(said) & (target != said)
    if run.kind == "multiclass":
        wrong &= target == 1  # told once, by the true class
    elif run.kind == "binary":
        wrong[:, :-1] = False
    n, c = np.nonzero(wrong)
    names = np.array(classes, dtype=object)
    answers = np.array(classes[-2:] if run.kind == "binary" else ["absent", "present"], dtype=object)
    if run.kind == "multiclass":
        truth, prediction = names[c], names[said[n].argmax(axis=1)] if len(n) else names[c]
    else:
        truth, prediction = answers[target[n, c].astype(int)], answers[said[n, c].astype(int)]
    found = pd.DataFrame(
        {
            "case": np.array(predictions.cases, dtype=object)[n],
            "label": names[c],
            "truth": truth,
            "prediction": prediction,
            "probability": probs[n, c],
        }
    )
    found["_sure"] = np.abs(target[n, c] - probs[n, c])
    found = found.sort_values("_sure", ascending=False, kind="stable").drop_duplicates("case")
    found["_turn"] = found.groupby("truth", sort=False).cumcount()
    found = found.sort_values(["_turn", "_sure"], ascending=[True, False], kind="stable")
    return found.head(most)[COLUMNS[1:]].reset_index(drop=True)


def write_failures(folder: Path, pixels: Pixels, most: int) -> None:
    """Write failures/01.png, ... and failures/failures.csv of a run or test folder; none remain of an earlier run.

    Args:
        pixels: gives the pictures of cases.
        most: how many; 0 for none (pictures of patients then stay out of the folder and the report).
    """
    place = folder / "failures"
    shutil.rmtree(place, ignore_errors=True)
    found = worst(read_folder(folder), most)
    films = None if found.empty else pixels(found["case"].tolist())
    if films is None:
        return
    found.insert(0, "picture", [f"{i + 1:02d}.png" for i in range(len(found))])
    for name, film_CHW in zip(found["picture"], films, strict=True):
        with atomic_path(place / name) as temporary:
            _image(film_CHW).save(temporary, format="PNG", optimize=True)
    write_text(place / "failures.csv", found.to_csv(index=False))


def _image(film_CHW: NDArray[Any]) -> Any:
    from PIL import Image

    deep = film_CHW.dtype == np.uint16
    film = (film_CHW >> 8).astype(np.uint8) if deep else film_CHW
    image = Image.fromarray(film[0] if len(film) == 1 else np.moveaxis(film[:3], 0, -1))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def gallery(run: RunFolder) -> str:
    """The pictures, with what was said and what is true."""
    if run.failures is None or run.failures.empty:
        return ""
    figures = []
    for row in run.failures.to_dict("records"):
        file = run.path / "failures" / Path(str(row["picture"])).name
        if not file.is_file():
            continue
        truth, prediction, label = (str(row[key] or "") for key in ("truth", "prediction", "label"))
        probability = f"probability of {label} {number(float(row['probability']))}"
        about = f"{label}: " if run.kind == "multilabel" else ""
        alt = f"Case {row['case']}: {about}truth {truth}, prediction {prediction}"
        caption = (
            f"{escape(about)}said <b>{escape(prediction)}</b>, truth <b>{escape(truth)}</b><br>"
            f"{escape(probability)}<br>"
            f'<span class="case">{escape(str(row["case"]))}</span>'
        )
        figures.append(picture(file, alt, caption, "film"))
    return section(
        "failures",
        "Worst mistakes",
        note(
            "The cases that were decided wrongly with most confidence, kinds of mistakes in turn, as the network saw "
            "them. Who receives this page sees them: eval.thumbnails=0 leaves them out."
        ),
        f'<div class="films">{"".join(figures)}</div>' if figures else "",
    )

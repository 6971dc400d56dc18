"""The worst mistakes, as pictures: what a radiologist asks for first.

They are chosen from the predictions and written into the run folder when it is made, while the data are at hand; the
report only shows them. Pixels are encoded anew at working size, so nothing of a file's header gets in.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.io.files import atomic_path, write_text
from medtrain.report.films import SEEN, pictures_of
from medtrain.report.folder import RunFolder, read_folder
from medtrain.report.views import Gallery, Note, Section, part, section
from medtrain.report.words import number

SIDE = 224  # px at most
COLUMNS = ["picture", "case", "label", "truth", "prediction", "probability"]
Pixels = Callable[[Sequence[str]], NDArray[Any] | None]  # cases -> (B, C, H, W) uint8 or uint16, if they have any


def worst(run: RunFolder, most: int) -> pd.DataFrame:
    """Choose the surest mistakes, kinds of mistakes in turn (misses and false alarms, or by true class); a case once.

    Returns:
        case, label, truth, prediction, and probability: that of the label (multiclass: of the true class). Sure means
        far from the truth.
    """
    predictions, classes, target = run.predictions(), run.classes, run.target
    if predictions is None or most <= 0:
        return pd.DataFrame(columns=COLUMNS[1:])
    true_NC, decided, probs = predictions.target_NC, predictions.predicted_NC, predictions.probs_NC
    wrong = np.isfinite(true_NC) & np.isfinite(decided) & (true_NC != decided)
    if target.exclusive:
        wrong &= true_NC == 1  # listed once, by the true class
    elif target.positive:
        wrong[:, :-1] = False
    n, c = np.nonzero(wrong)
    names = np.array(classes, dtype=object)
    answers = np.array(classes[-2:] if target.positive else ["absent", "present"], dtype=object)
    if target.exclusive:
        truth, prediction = names[c], names[decided[n].argmax(axis=1)] if len(n) else names[c]
    else:
        truth, prediction = answers[true_NC[n, c].astype(int)], answers[decided[n, c].astype(int)]
    mistakes = pd.DataFrame(
        {
            "case": np.array(predictions.cases, dtype=object)[n],
            "label": names[c],
            "truth": truth,
            "prediction": prediction,
            "probability": probs[n, c],
        }
    )
    mistakes["_sure"] = np.abs(true_NC[n, c] - probs[n, c])
    mistakes = mistakes.sort_values("_sure", ascending=False, kind="stable").drop_duplicates("case")
    mistakes["_turn"] = mistakes.groupby("truth", sort=False).cumcount()
    mistakes = mistakes.sort_values(["_turn", "_sure"], ascending=[True, False], kind="stable")
    return mistakes.head(most)[COLUMNS[1:]].reset_index(drop=True)


def write_failures(folder: Path, pixels: Pixels, most: int) -> None:
    """Write failures/01.png, ... and failures/failures.csv of a run or test folder; none remain of an earlier run.

    Args:
        pixels: gives the pictures of cases.
        most: how many; 0 for none (pictures of patients then stay out of the folder and the report).
    """
    place = folder / "failures"
    shutil.rmtree(place, ignore_errors=True)
    mistakes = worst(read_folder(folder), most)
    films = None if mistakes.empty else pixels(mistakes["case"].tolist())
    if films is None:
        return
    mistakes.insert(0, "picture", [f"{i + 1:02d}.png" for i in range(len(mistakes))])
    for name, film_CHW in zip(mistakes["picture"], films, strict=True):
        with atomic_path(place / name) as temporary:
            _image(film_CHW).save(temporary, format="PNG", optimize=True)
    write_text(place / "failures.csv", mistakes.to_csv(index=False))


def _image(film_CHW: NDArray[Any]) -> Any:
    from PIL import Image

    deep = film_CHW.dtype == np.uint16
    film = (film_CHW >> 8).astype(np.uint8) if deep else film_CHW
    image = Image.fromarray(film[0] if len(film) == 1 else np.moveaxis(film[:3], 0, -1))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


class Film(NamedTuple):
    """A mistake: its picture, what was decided and what is true, in words."""

    src: str
    alt: str
    label: str
    prediction: str
    truth: str
    probability: str
    case: str


@section(forms={"labels", "probabilities"})
def gallery(run: RunFolder) -> Section | None:
    """Show the pictures, with what was decided and what is true."""
    films = [_film(run, row, src) for row, src in pictures_of(run, "failures", run.failures)]
    text = (
        "The cases that were decided wrongly with most confidence, kinds of mistakes in turn, as the network saw "
        f"them. {SEEN}"
    )
    return part("failures", "Worst mistakes", Note(text), Gallery("mistakes.html.j2", films)) if films else None


def _film(run: RunFolder, row: dict[Hashable, Any], src: str) -> Film:
    truth, prediction, label = (str(row[key] or "") for key in ("truth", "prediction", "label"))
    about = f"{label}: " if run.target.several else ""
    return Film(
        src=src,
        alt=f"Case {row['case']}: {about}truth {truth}, prediction {prediction}",
        label=about,
        prediction=prediction,
        truth=truth,
        probability=f"probability of {label} {number(float(row['probability']))}",
        case=str(row["case"]),
    )

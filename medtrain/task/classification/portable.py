"""A classifier of images as one graph: pixels in, calibrated probabilities and the decision out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.pool import pool_case
from medtrain.data.settings import image_form
from medtrain.export.parity import Compare, compare_classes, compare_risks, compare_values
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.io.image import read_image
from medtrain.io.image_form import ImageForm
from medtrain.model import Ensemble, columns_learned, show_columns

WHITE = 65535.0
ODD = ((1, 1), (3, 200), (131, 57))  # heights and widths that no size divides


class ImageClassifier(nn.Module):
    """The network with scaling, normalisation, views, temperature, thresholds, and the spread of an ensemble."""

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.logits, self.judge = Logits(task, request), Judge(task, request)
        self.views, self.pooling = task.views, task.target.pooling

    def forward(self, pixels: Tensor, columns: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map (B, C, H, W) uint16 over its full range to what `outputs_of` names.

        Args:
            columns: beside the images, coded (B, V) float32, of networks that take any.
        """
        show_columns(self.logits.network, columns)
        x = pixels.to(torch.float32) / WHITE
        seen = [self.logits(view).double() for view in ([x] if self.views is None else self.views(x))]
        return self.judge(seen[0] if len(seen) == 1 else pool_case(torch.stack(seen), "mean", **self.pooling))


class Logits(nn.Module):
    """The network or those of an ensemble with normalisation, in the precision that is asked for."""

    mean: Tensor
    std: Tensor

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        network = task.model.to(memory_format=torch.contiguous_format)
        self.network = network.half() if request.half else network
        self.half_precision = request.half
        self.register_buffer("mean", task.mean)
        self.register_buffer("std", task.std)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, ...) in 0..1 to logits (B, S, K), float32, of S networks."""
        x = (x - self.mean) / self.std
        logits: Tensor = self.network(x.half() if self.half_precision else x).float()
        return by_member(logits)


def by_member(logits: Tensor) -> Tensor:
    """Give logits (B, K) of one network, or (B, S, K) of S, the axis of networks."""
    return logits if logits.ndim == 3 else logits[:, None]


class Judge(nn.Module):
    """Logits to probabilities, by the run's temperatures, and to its decision, by its thresholds."""

    temperature_S: Tensor
    limits_T: Tensor

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.target = task.target.decided_by(request.decision)
        self.readers = list(task.model.readers) if isinstance(task.model, Ensemble) else []
        own = task.model.temperatures if isinstance(task.model, Ensemble) else torch.ones(1, dtype=torch.float64)
        self.register_buffer("temperature_S", own.double() * request.decision.temperature)
        limits = list(request.decision.thresholds.values())
        self.register_buffer("limits_T", torch.tensor(limits, dtype=torch.float64))

    def forward(self, logits_BSK: Tensor) -> tuple[Tensor, ...]:
        """Compute probabilities, decision, and of several networks their uncertainty, of float64 logits."""
        logits_BSK = logits_BSK / self.temperature_S[:, None]
        if self.readers and any(reader != self.target for reader in self.readers):  # each has learned from other cases
            parts = [reader.probabilities_of(logits_BSK[:, s]) for s, reader in enumerate(self.readers)]
            probs_BSC = torch.stack(parts, 1)
        else:
            probs_BSC = self.target.probabilities_of(logits_BSK)
        probs_BC = self.target.together_of(probs_BSC)
        decision = self.target.decision_of(probs_BC, self.limits_T)
        if probs_BSC.shape[1] == 1:
            return probs_BC, decision
        return probs_BC, decision, self.target.disagreement_of(probs_BSC, decision)


def columns_beside(task: Any, rows: int) -> dict[str, Tensor]:
    """Give an example of the columns beside so many cases, an input of graphs whose network takes any."""
    return {"columns": torch.zeros(rows, len(task.spec.covariates))} if columns_learned(task.model) else {}


def outputs_of(task: Any) -> dict[str, str]:
    """Say what the outputs of `Judge` are."""
    several, v = task.target.several, len(task.spec.classes)
    if "values" in task.target.forms:
        readings = {
            "readings": f"(B, C) float64, the {v} quantities, then their standard deviations where they are predicted",
            "decision": f"(B, {v}) float64, the quantities",
        }
        spread = {"uncertainty": f"(B, {v}) float64, how far the members' predictions spread"}
        return readings | (spread if isinstance(task.model, Ensemble) else {})
    if "times" in task.target.forms:
        named = {
            "risks": "(B, 1 + H) float64, a log risk, and the chance of no event up to each of H horizons",
            "decision": "(B,) int64, 1 of high risk",
        }
        spread = {"uncertainty": "(B,) float64, how far the members' risks spread"}
        return named | (spread if isinstance(task.model, Ensemble) else {})
    named = {
        "probabilities": "(B, C) float64, one column a class in order, calibrated",
        "decision": "(B, C) int64, 0 or 1 of each class" if several else "(B,) int64, the number of the class",
    }
    if isinstance(task.model, Ensemble):
        named["uncertainty"] = f"({'B, C' if several else 'B'}) float64, how far the members' probabilities spread"
    return named


def outputs_of_one(task: Any) -> dict[str, str]:
    """Say what they are where cases come one by one."""
    return {name: words.replace("(B, ", "(").replace("(B,)", "()") for name, words in outputs_of(task).items()}


def comparing(task: Any) -> Compare:
    """Choose how predictions of an export are compared with the run's."""
    if "times" in task.target.forms:
        return compare_risks
    return compare_values if "values" in task.target.forms else compare_classes


def refuse_drawn(task: Any) -> None:
    """Refuse (UsageError) a run that adds something drawn at random."""
    if task.mc_dropout:
        raise UsageError(f"eval.mc_dropout={task.mc_dropout}: what is drawn can't be exported; eval.mc_dropout=0")


def portable_images(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a classifier of images.

    Raises:
        UsageError: the run adds something that is drawn at random.
    """
    refuse_drawn(task)
    form, spec = image_form(request.data, task.spec), task.spec
    pixels = torch.from_numpy(np.arange(2 * spec.channels * form.size[0] * form.size[1]) % 65536).to(torch.uint16)
    columns = columns_beside(task, 2)
    return Portable(
        {
            "model": Part(
                ImageClassifier(task, request),
                {"pixels": pixels.reshape(2, spec.channels, *form.size), **columns},
                {"pixels": {0: "batch"}, **{name: {0: "batch"} for name in columns}},
                outputs_of(task),
                free={"pixels": {2: "height", 3: "width"}},
            )
        },
        "images",
        reads="an image (PNG, JPEG, TIFF, BMP, DICOM)",
        writes="a CSV with a row an image",
        suffix=".csv",
        strange=odd_pictures,
        keep=keep_picture,
        compare=comparing(task),
        facts={"input": facts_of_form(form)},
    )


def facts_of_form(form: ImageForm) -> dict[str, Any]:
    """Say how a file becomes pixels."""
    return {"size": list(form.size), "channels": form.channels, "fit": form.fit, "window": form.window}


def odd_pictures(source: Path, folder: Path) -> None:
    """Write pictures of odd sizes, cut or repeated from a real one, and a file that breaks off."""
    pixels = read_image(source)
    for height, width in ODD:
        cut = np.resize(pixels, (height, width, *pixels.shape[2:]))
        Image.fromarray(cut).save(folder / f"odd_{height}x{width}.png")
    break_off(folder / f"odd_{ODD[-1][0]}x{ODD[-1][1]}.png", folder / "unreadable.png")


def break_off(whole: Path, place: Path) -> None:
    """Write the first half of a file."""
    content = whole.read_bytes()
    place.write_bytes(content[: len(content) // 2])


def keep_picture(pixels_CHW: np.ndarray, path: Path) -> Path:
    """Write a picture that lies in no file of its own as PNG, which keeps all of it."""
    file = path.with_suffix(".png")
    Image.fromarray(pixels_CHW[0] if len(pixels_CHW) == 1 else np.moveaxis(pixels_CHW, 0, -1)).save(file)
    return file

"""What explain says of the images of a case: how much each weighs in its prediction, and what it says alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from medtrain.task.classification.classes import number_of
from medtrain.task.classification.shares import shares
from medtrain.task.explanation import Request

OF_IMAGES = ("image", "weight", "alone")  # further columns of explain.csv
Place = tuple[int, int]  # number of a case, and which of its images
NOTES = {
    "attention": "weight: the share of an image in its case's prediction, as attention has learned it",
    "mean": "weight: all images of a case count alike",
}
OTHERWISE = "weight: blank, as task.pool={} has none; alone says which image speaks loudest"


@dataclass(frozen=True)
class OfCases:
    """Predictions of cases, and of their images.

    Args:
        table: predictions, a row a case, indexed by its number.
        alone: predictions of images as if each were a case, indexed by number.
        number: in `alone`, of each image.
        weight: of each image, sums to 1 within a case; empty where the pool has none.
        path: file of each image.
        note: what weights are.
    """

    table: pd.DataFrame
    alone: pd.DataFrame
    number: dict[Place, int]
    weight: dict[Place, float]
    path: dict[Place, str]
    note: str

    def facts(self, case: int, instance: int, name: str) -> dict[str, Any]:
        """Say of an image where it lies, which it is, how much it weighs, and its own probability of a class."""
        place = case, instance
        known = {"image": self.path[place], "instance": instance, "weight": self.weight.get(place)}
        return known | {"alone": number_of(self.alone.iloc[self.number[place]], name)}


def of_cases(task: Any, request: Request) -> OfCases:
    """Predict all cases of several images, which lie in several batches, before any of them is explained."""
    data: Any = request.data
    outputs: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for batch in data.predict_dataloader() if len(data.readable) else ():
            seen = task.final_outputs({key: value.to(request.device) for key, value in batch.items()})
            outputs.append({key: value.cpu() for key, value in seen.items()})
    note = NOTES.get(task.pool, OTHERWISE.format(task.pool)) + "; alone: what the image by itself would say"
    if not outputs:
        return OfCases(pd.DataFrame(), pd.DataFrame(), {}, {}, {}, note)
    joined = {key: torch.cat([batch[key] for batch in outputs]) for key in ("case", "instance", "logits")}
    places = list(zip(joined["case"].tolist(), joined["instance"].tolist(), strict=True))
    logits = joined["logits"][..., :-1] if task.pool == "attention" else joined["logits"]
    images = data.cases.iloc[joined["case"].numpy()].reset_index(drop=True)
    rows = {(case, n): data.members[data.slots[case]][n] for case, n in places}
    share = shares(joined, task.pool)
    return OfCases(
        task.predictions(outputs, data.cases, request.decision),
        task.predictions([{"case": torch.arange(len(places)), "logits": logits}], images, request.decision),
        {place: number for number, place in enumerate(places)},
        {place: share[place] / len(data.members[data.slots[place[0]]]) for place in places} if share else {},
        {place: data.listed_rows.path[row] for place, row in rows.items()},
        note,
    )

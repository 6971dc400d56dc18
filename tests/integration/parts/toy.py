"""Tiny stand-ins for the tasks to come: boxes, volumes. Real spine, toy data and networks.

They lie in a user's config folder in the tests, so they also show what an extension from outside looks like.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medtrain.core.spec import DataSpec
from medtrain.data.base import Data
from medtrain.data.loading import ranks
from medtrain.metric import Decision
from medtrain.sampler import EvalSampler
from medtrain.task.base import Batch, Outcome, Outputs, Task

SPLITS = {"train": range(0, 24), "val": range(24, 36), "test": range(36, 49)}  # 13 test cases: an uneven last batch


class Toy(Data):
    """49 cases of 49 patients; a subclass makes a case and a batch."""

    synthetic = True
    spec: DataSpec

    def __init__(self, cfg: dict[str, Any], **options: Any) -> None:
        super().__init__(cfg, **options)
        self.batch_size = int(cfg["batch_size"])
        split = [name for name, rows in SPLITS.items() for _ in rows]
        names = [f"case{i}" for i in range(len(split))]
        self.cases = pd.DataFrame({"case": names, "patient": names, "split": split, "fold": None})
        self.truth = np.arange(len(split)) % 2
        self.fingerprints = {"table": "toy", "split": "toy"}

    def prepare(self) -> None:
        return

    def item(self, row: int) -> Any:
        raise NotImplementedError

    def collate(self, items: list[Any]) -> Any:
        raise NotImplementedError

    def _loader(self, rows: list[int], sampler: Any) -> DataLoader[Any]:
        items = [self.item(row) for row in rows]
        return DataLoader(items, batch_size=self.batch_size, sampler=sampler, collate_fn=self.collate)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Any]:
        rows, (rank, world) = list(SPLITS["train"]), ranks()
        labels, patients = self.truth[rows], np.array(rows)
        sampler = self.build_sampler(labels, patients, batch_size=4, seed=self.seed, rank=rank, world=world)
        return self._loader(rows, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader[Any]:
        rows = list(SPLITS[split])
        return self._loader(rows, EvalSampler(len(rows), *ranks()))


# --- boxes: a list of boxes as target, a dict of losses from the network -------------------------------------------


class Boxes(Toy):
    """Images with one bright square; every third has none."""

    spec = DataSpec("boxes", ("square",), 1, (16, 16))

    def item(self, row: int) -> tuple[Tensor, dict[str, Tensor], int]:
        image, boxes = torch.zeros(1, 16, 16), torch.zeros(0, 4)
        if row % 3:
            x, y = row % 8, (row * 5) % 8
            image[:, y : y + 6, x : x + 6] = 1
            boxes = torch.tensor([[x, y, x + 6, y + 6]], dtype=torch.float32)
        return image, {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.long)}, row

    def collate(self, items: list[Any]) -> Batch:
        images, targets, rows = zip(*items, strict=True)
        return {"images": list(images), "targets": list(targets), "case": torch.tensor(rows)}


class Detector(nn.Module):
    """Predicts one box and its score an image; in training it returns its own losses, as torchvision's do."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        out = self.net(torch.stack(images))
        if targets is None:
            return [{"boxes": row[None, :4], "scores": row[None, 4].sigmoid()} for row in out]
        has = torch.tensor([float(len(t["boxes"]) > 0) for t in targets])
        boxes = torch.stack([t["boxes"][0] if len(t["boxes"]) else torch.zeros(4) for t in targets])
        objectness = nn.functional.binary_cross_entropy_with_logits(out[:, 4], has)
        return {"objectness": objectness, "box": (has[:, None] * (out[:, :4] - boxes).abs()).mean() / 16}


class Detection(Task):
    """The smallest task that is no classification."""

    takes: ClassVar[tuple[str, ...]] = ()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return dict(self.model(batch["images"], batch["targets"]))

    def outputs(self, batch: Batch) -> dict[str, Any]:
        return {"case": batch["case"], "found": self.model(batch["images"]), "truth": batch["targets"]}

    def batch_size(self, batch: Batch) -> int:
        return len(batch["images"])

    def score(self, outputs: Outputs) -> dict[str, float]:
        hits = [float((f["scores"][0] > 0.5) == (len(t["boxes"]) > 0)) for _, f, t in each(outputs)]
        return {"hit": float(np.mean(hits))}

    def fit_decision(self, outputs: Outputs, policy: str | float) -> Decision:
        return Decision(policy, 1.0, {"square": 0.5})

    def evaluate(
        self, outputs: Outputs, cases: pd.DataFrame, decision: Decision, *, bootstrap: int, **_: Any
    ) -> Outcome:
        value = self.score(outputs)["hit"]
        found = [{"image_id": c, "score": float(f["scores"][0])} for c, f, _ in each(outputs)]
        metrics = {"hit": {"value": value, "ci95": None}}
        counts = {"n_cases": len(found), "n_patients": len(found)}
        return Outcome({**counts, "metrics": metrics, "per_class": {}}, {"test_predictions.json": found})

    def predictions(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> pd.DataFrame:
        return cases.assign(score=[float(f["scores"][0]) for _, f, _ in each(outputs)])


def each(outputs: Outputs) -> list[tuple[int, Any, Any]]:
    """(case, found, truth) once a case, whatever the padding."""
    seen = {int(c): (f, t) for b in outputs for c, f, t in zip(b["case"], b["found"], b["truth"], strict=True)}
    return [(c, *seen[c]) for c in sorted(seen)]


# --- volumes: several patches a case, one prediction a case --------------------------------------------------------


class Volumes(Toy):
    """Four patches a case; in a positive case one of them is bright."""

    spec = DataSpec("binary", ("0", "1"), 1, (4, 4, 4))

    def item(self, row: int) -> tuple[Tensor, float, int]:
        patches = torch.from_numpy(np.random.default_rng(row).normal(0, 0.05, (4, 1, 4, 4, 4)).astype(np.float32))
        if self.truth[row]:
            patches[row % 4] += 1
        return patches, float(self.truth[row]), row

    def collate(self, items: list[Any]) -> Batch:
        patches, labels, rows = zip(*items, strict=True)
        return {
            "x": torch.cat(patches),
            "y": torch.tensor(labels).repeat_interleave(4)[:, None],
            "case": torch.tensor(rows).repeat_interleave(4),
            "instance": torch.arange(4).repeat(len(rows)),
        }


class Net3d(nn.Module):
    """A linear network on the patch's mean and maximum."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.head = nn.Linear(2, spec.n_logits)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        flat = x_BCDHW.flatten(1)
        return self.head(torch.stack([flat.mean(1), flat.amax(1)], 1))

"""Detection: boxes in images, judged in the pixels of the originals whatever size the network saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from medtrain.augment import BoxViews
from medtrain.core.box_fusion import fuse_boxes, fuse_detections, joined
from medtrain.core.boxes import Boxes, Detections, iou, marked_pixels, moved, share_inside
from medtrain.core.coco import results
from medtrain.core.tile_merging import CUT_PX, Views, on_originals
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.data.base import Data
from medtrain.export.portable import ExportRequest, Portable
from medtrain.io.boxes.export import check_output
from medtrain.io.files import write_json
from medtrain.metric import EvalOptions, Hit, HitRule, fit_box_thresholds, map50
from medtrain.model import losses_wanted, members_of
from medtrain.report import write_box_pictures
from medtrain.target import DataSpec, Decision, Outcome, Target
from medtrain.target.boxes import BoxTarget
from medtrain.task.base import Batch, Task, first_rows, refuse_unused, scaled, shape_of
from medtrain.task.detection.explain import explain_boxes
from medtrain.task.detection.export import export_boxes, write_images
from medtrain.task.detection.judging import judge_boxes
from medtrain.task.detection.out_of_fold import BoxJudge
from medtrain.task.explanation import Explanation, Request
from medtrain.task.gathering import Outputs

WAYS = ("horizontal", "vertical")


class Detection(Task):
    """A detector of batches ``{"x", "boxes", "labels", "image", "case", "place"}``; see `medtrain.data.batches.boxes`.

    Rows of a case with an ``instance`` are tiles, whose boxes are merged.

    Args:
        loss: ``loss(outputs, truth) -> {name: scalar}`` of what the network returns in training; None where nothing is
            trained.
        augment: ``augment(batch, seed, epoch) -> batch`` on inputs in 0..1; only in training.
        merge: boxes of a class from different tiles with a larger IoU, in what both tiles see, are one.
        iou: of ``hit`` iou: from which a box finds a lesion, in FROC and at the threshold.
        hit: by what a box finds a lesion there (see `HitRule`): iou, or centre.
        views: test-time augmentation: the boxes of all views of an image are fused; None for none.
    """

    mean: Tensor
    std: Tensor
    loss: nn.Module | None
    augment: nn.Module | None
    usual_target: ClassVar[type[Target]] = BoxTarget

    def __init__(
        self,
        *args: Any,
        loss: nn.Module | None = None,
        augment: nn.Module | None = None,
        merge: float = 0.5,
        iou: float = 0.5,
        hit: Hit = "iou",
        views: nn.Module | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.loss, self.augment, self.merge, self.rule = loss, augment, merge, HitRule(hit, iou)
        self.views = views
        self.register_buffer("mean", torch.tensor(self.spec.mean or (0.0,)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std or (1.0,)).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        size = shape_of(data.get("tile") or data.get("image_size"), 2)
        return DataSpec(cls.usual_target(("0", "1")), int(data.get("channels") or 1), size)

    @classmethod
    def options(
        cls, task: Mapping[str, Any], evaluation: Mapping[str, Any], augment: Mapping[str, Any], spec: DataSpec
    ) -> dict[str, Any]:
        refuse_unused(task, evaluation, "mc_dropout")
        number, flips = evaluation.get("tta") or 0, [bool(augment.get(f"flip_{way}")) for way in WAYS]
        return {
            "merge": task["merge"],
            "hit": evaluation.get("hit") or "iou",
            "iou": evaluation["iou"],
            "views": BoxViews(number, *flips) if number > 1 else None,
        }

    @classmethod
    def judge_of_files(cls, spec: DataSpec, evaluation: Mapping[str, Any]) -> BoxJudge:
        return BoxJudge(spec.classes, HitRule(evaluation.get("hit") or "iou", evaluation["iou"]))

    @classmethod
    def fitting_loss(cls, network: nn.Module, loss: nn.Module) -> str | None:
        """Offer another loss: networks that bring their own, as torchvision's, need one that hands them on."""
        brings, hands_on = (bool(getattr(part, "own_loss", False)) for part in (network, loss))
        if brings == hands_on:
            return None
        return "own, as the network brings its loss" if brings else "detection"

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch | {"x": self._covered(batch)}
        if self.augment is not None:
            batch = self.augment(batch, seed=self.seed, epoch=self.current_epoch)
        return self._losses(batch)

    def _covered(self, batch: Batch) -> Tensor:
        """Scale inputs to 0..1, and cover crowds and difficult boxes with the mean, but for what true boxes hold: a
        network learns from them neither that there is a lesion nor that there is none."""
        x_BCHW = scaled(batch["x"])
        if not len(batch.get("ignored", ())):
            return x_BCHW
        cover_BHW = marked_pixels(batch["ignored"], batch["ignored_image"], x_BCHW)
        cover_BHW &= ~marked_pixels(batch["boxes"], batch["image"], x_BCHW)
        return torch.where(cover_BHW[:, None], self.mean.to(x_BCHW.dtype), x_BCHW)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of inputs in 0..1."""
        assert self.loss is not None
        truth = Boxes(batch["boxes"], batch["labels"], batch["image"])
        parts: dict[str, Tensor] = self.loss(self.model((batch["x"] - self.mean) / self.std, truth), truth)
        return parts

    def outputs(self, batch: Batch) -> dict[str, Any]:
        """Detect boxes: ``case`` (B,), and of all boxes ``row`` (N,) of the batch and, in pixels of the originals,
        ``box`` (N, 6): four edges, score, class; of an ensemble ``member`` (N,); of tiles also ``view`` (B, 5): their
        four edges in pixels of the originals, and how near to one of them a box is cut."""
        x_BCHW = scaled(batch["x"])
        return self._placed(batch, [self._detect(member, x_BCHW) for member in members_of(self.model)])

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """Detect boxes as `outputs` does, those of all views of an image fused."""
        if self.views is None:
            return self.outputs(batch)
        x_BCHW, parts = scaled(batch["x"]), []
        for member in members_of(self.model):
            seen = [(self._detect(member, view_BCHW), place) for view_BCHW, place in self.views(x_BCHW)]
            parts.append(fuse_detections([d._replace(boxes_N4=moved(d.boxes_N4, p, back=True)) for d, p in seen]))
        return self._placed(batch, parts)

    def _detect(self, detector: Any, x_BCHW: Tensor) -> Detections:
        """Detect boxes in inputs in 0..1."""
        detections: Detections = detector.detect((x_BCHW - self.mean) / self.std)
        return detections

    def _placed(self, batch: Batch, parts: list[Detections]) -> dict[str, Any]:
        """Put the boxes of each member into pixels of the originals."""
        whole = Detections(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
        boxes_N4 = moved(whole.boxes_N4, batch["place"][whole.image_N], back=True)
        box_N6 = torch.cat([boxes_N4, whole.scores_N[:, None], whole.labels_N[:, None].to(boxes_N4.dtype)], 1)
        known = {key: batch[key] for key in ("case", "instance") if key in batch}
        if len(parts) > 1:
            counts = torch.tensor([len(part.scores_N) for part in parts], device=box_N6.device)
            known["member"] = torch.arange(len(parts), device=box_N6.device).repeat_interleave(counts)
        if "instance" in known:
            height, width = batch["x"].shape[-2:]
            rect_B4 = moved(batch["place"].new_tensor([0, 0, width, height]), batch["place"], back=True)
            known["view"] = torch.cat([rect_B4, CUT_PX / batch["place"][:, :1]], 1)
        return known | {"row": whole.image_N, "box": box_N6}

    def validated(self, batch: Batch) -> dict[str, Any]:
        """Add ``loss`` (B,), the batch's for each of its rows: it tells epochs apart that find boxes equally well."""
        outputs = self.outputs(batch)
        if self.loss is None:  # nothing is trained
            return outputs
        with torch.no_grad(), losses_wanted(self.model):
            loss = torch.stack(list(self._losses(batch | {"x": self._covered(batch)}).values())).sum()
        return outputs | {"loss": loss.float().expand(len(batch["case"]))}

    def hardness(self, batch: Batch) -> Tensor:
        """Compute how hard each row is, (B,): the summed scores of boxes that meet no true one of any class."""
        detections = self._detect(self.model, scaled(batch["x"]))
        overlap_NM = iou(detections.boxes_N4[:, None], batch["boxes"]) * (detections.image_N[:, None] == batch["image"])
        wrong_N = (overlap_NM < self.rule.iou).all(1)
        if "ignored" in batch:
            here_NK = detections.image_N[:, None] == batch["ignored_image"]
            wrong_N &= (share_inside(detections.boxes_N4[:, None], batch["ignored"]) * here_NK < self.rule.iou).all(1)
        return detections.scores_N.new_zeros(len(batch["case"])).index_add(
            0, detections.image_N[wrong_N], detections.scores_N[wrong_N]
        )

    def batch_size(self, batch: Batch) -> int:
        return len(batch["case"])

    def detections(self, outputs: Outputs) -> tuple[PredictedBoxes, np.ndarray]:
        """Collect all boxes, `image_N` being case numbers, and the cases that were looked at, ascending.

        Repeated rows (the padding of the last batch) are dropped, tiles of a case merged, boxes cut at the edges of the
        originals, those of an ensemble's members fused, and a gate heeded.
        """
        names = [name for name in ("case", "instance") if name in outputs[0]]
        keys_RK = torch.cat([torch.stack([batch[name] for name in names], 1) for batch in outputs])
        start = np.cumsum([0, *(len(batch["case"]) for batch in outputs)])
        row_N = torch.cat([batch["row"] + int(first) for batch, first in zip(outputs, start, strict=False)])
        kept_R = torch.zeros(len(keys_RK), dtype=torch.bool)
        kept_R[first_rows(keys_RK)] = True
        once_N = kept_R[row_N]
        row_N, box_N6 = row_N[once_N], torch.cat([batch["box"] for batch in outputs])[once_N]
        view_R5 = torch.cat([batch["view"] for batch in outputs]) if "instance" in names else None
        number_R = keys_RK[:, 1] if "instance" in names else None
        if "member" not in outputs[0]:
            detected = self._whole_images(box_N6, row_N, keys_RK[:, 0], number_R, view_R5)
        else:
            member_N = torch.cat([batch["member"] for batch in outputs])[once_N]
            own = [member_N == member for member in range(len(members_of(self.model)))]
            parts = [self._whole_images(box_N6[n], row_N[n], keys_RK[:, 0], number_R, view_R5) for n in own]
            detected, _ = fuse_boxes(*joined(parts), len(parts))
        if self.gate_N is not None:
            detected = replace(detected, score_N=detected.score_N * self.gate_N[detected.image_N])
            detected = detected.select(detected.score_N > 0)
        return detected, keys_RK[:, 0].unique().numpy()

    def _whole_images(
        self, box_N6: Tensor, row_N: Tensor, case_R: Tensor, number_R: Tensor | None, view_R5: Tensor | None
    ) -> PredictedBoxes:
        """Cut boxes of one network at the edges of the originals, and merge those of tiles."""
        box = box_N6.double().numpy()
        detected = PredictedBoxes(box[:, :4], box[:, 4], box[:, 5].astype(np.int64), case_R[row_N].numpy())
        if number_R is None or view_R5 is None:
            return on_originals(detected, None, self.truth.size_N2, self.merge)
        view = view_R5[row_N].double().numpy()
        views = Views(number_R[row_N].numpy(), view[:, :4], view[:, 4])
        return on_originals(detected, views, self.truth.size_N2, self.merge)

    def judged(self, outputs: Outputs) -> tuple[Truth, PredictedBoxes, np.ndarray]:
        """Collect truth and boxes of the cases that were looked at, numbered from 0 in the order of those cases."""
        boxes, cases = self.detections(outputs)
        return self.truth.select(cases), boxes.of_images(cases), cases

    def of_cases(self, outputs: Outputs, wanted: Tensor) -> Outputs:
        """Take the outputs of some cases, whose boxes name their row of the batch."""
        parts = []
        for batch in outputs:
            row, boxes = batch["row"], ("row", "box", "member")
            kept_B = torch.isin(batch["case"], wanted)
            own = {key: value[kept_B] for key, value in batch.items() if key not in boxes}
            there_N = kept_B[row]
            own |= {key: batch[key][there_N] for key in boxes if key in batch}
            parts.append(own | {"row": (kept_B.cumsum(0) - 1)[row[there_N]]})
        return parts

    def score(self, outputs: Outputs) -> dict[str, float]:
        truth, boxes, _ = self.judged(outputs)
        losses = [batch["loss"] for batch in outputs if "loss" in batch]
        return {"map50": map50(truth, boxes, len(self.spec.classes))} | (
            {"loss": float(torch.cat(losses).double().mean())} if losses else {}
        )

    def fit_decision(self, outputs: Outputs, policy: str | float, cases: pd.DataFrame | None = None) -> Decision:
        truth, boxes, numbers = self.judged(outputs)
        patients = None if cases is None else cases["patient"].iloc[numbers].tolist()
        thresholds = fit_box_thresholds(truth, boxes, self.spec.classes, policy, self.rule, patients)
        return Decision(policy, 1.0, thresholds, no_sets="boxes have none")

    def evaluate(
        self,
        outputs: Outputs,
        cases: pd.DataFrame,
        decision: Decision,
        options: EvalOptions,
    ) -> Outcome:
        truth, boxes, judged_cases = self.judged(outputs)
        own = options.of_cases(judged_cases.tolist())
        rows = cases.iloc[judged_cases]
        return judge_boxes(truth, boxes, rows, self.spec.classes, decision.thresholds, own, self.rule)

    def save(self, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> None:
        """Write COCO results, and beside them FILE.images.csv with a row an input."""
        entries = self.predictions(outputs, inputs.cases, decision) if outputs else []
        write_json(output, entries)
        write_images(output, [entry["image_id"] for entry in entries], inputs)

    @classmethod
    def check_format(cls, form: str, output: Path) -> None:
        check_output(form, output)

    def save_as(self, form: str, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> str:
        return export_boxes(self, form, output, outputs, inputs, decision)

    def draw_mistakes(self, folder: Path, data: Data, most: int) -> None:
        boxes: Any = data
        write_box_pictures(folder, data.pixels, dict(zip(data.cases["case"], boxes.place_N4, strict=True)), most)

    def explain(self, request: Request) -> Explanation:
        """Draw the boxes that the decision shows over each image."""
        return explain_boxes(self, request)

    def portable(self, request: ExportRequest) -> Portable:
        """Make the export of a detector: its stages up to suppression, whose rules stand beside them."""
        from medtrain.task.detection.portable import portable_boxes  # late: training exports nothing

        return portable_boxes(self, request)

    def predictions(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> list[dict[str, Any]]:
        """Make COCO results, images numbered from 1 and categories as in the training data's file; with file, class by
        name and whether the box is shown."""
        boxes, _ = self.detections(outputs)
        names = cases["case"].astype(str).to_numpy()[boxes.image_N]
        limit_C = np.array([decision.thresholds[name] for name in self.spec.classes])
        target: Any = self.spec.target
        return results(
            boxes,
            self.truth.image_ids,
            target.category_ids or range(1, len(self.spec.classes) + 1),
            file_name=names.tolist(),
            category=[self.spec.classes[label] for label in boxes.label_N],
            shown=(boxes.score_N >= limit_C[boxes.label_N]).tolist(),
        )

    def shown(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> pd.DataFrame:
        """List boxes at or above their class's threshold, indexed by case number, the surest first: case, patient,
        class, score and edges in pixels of the original."""
        boxes, _ = self.detections(outputs)
        limit_C = np.array([decision.thresholds[name] for name in self.spec.classes])
        shown = boxes.select(np.flatnonzero(boxes.score_N >= limit_C[boxes.label_N]))
        order = np.lexsort((-shown.score_N, shown.image_N))
        shown = shown.select(order)
        rows = cases.iloc[shown.image_N]
        return pd.DataFrame(
            {
                "case": rows["case"].tolist(),
                "patient": rows["patient"].tolist(),
                "class": [self.spec.classes[label] for label in shown.label_N],
                "score": shown.score_N,
                **{name: shown.boxes_N4[:, i] for i, name in enumerate(("x_min", "y_min", "x_max", "y_max"))},
            },
            index=shown.image_N,
        )

"""Segmentation: each voxel of a volume gets a label, and is judged on the file's own grid."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medtrain.augment import mirrored_axes
from medtrain.core.sliding import Voxels, mean_of_views, whole_volume
from medtrain.data.base import Data
from medtrain.data.batches.masks import MaskData
from medtrain.explain.names import names_of_maps
from medtrain.export.parity_masks import ties_of
from medtrain.export.portable import ExportRequest, Portable
from medtrain.io.own_grid import (
    MASKS,
    SURE,
    View,
    decided,
    filled,
    largest_component,
    masks_ml,
    mean_of,
    near_ties,
)
from medtrain.io.volume import Triple
from medtrain.metric import EvalOptions
from medtrain.metric.mask_overlap import measure
from medtrain.model import members_of, specs_of
from medtrain.target import DataSpec, Decision, Outcome, Target
from medtrain.target.mask import MaskTarget
from medtrain.task.base import Batch, Task, refuse_unused, shape_of
from medtrain.task.explanation import Explanation, Request
from medtrain.task.gathering import Outputs
from medtrain.task.segmentation.after_epoch import Look, pieces, quick_windows, too_small_alone
from medtrain.task.segmentation.components import AUTO, compared, counted, in_words
from medtrain.task.segmentation.files import (
    FORMATS,
    LABELS,
    check_form,
    check_inputs,
    save_masks,
    write_maps,
)
from medtrain.task.segmentation.out_of_fold import NO_SETS, MaskJudge, judge_masks
from medtrain.task.segmentation.pictures import draw_cases, explain_masks
from medtrain.task.segmentation.portable import portable_masks, said_by


class Segmentation(Task):
    """A network of patches ``{"x", "mask", "case"}`` in training, and of whole cases by number, ``{"case"}``, else.

    Their voxels are those of `truth`, the data: `medtrain.data.batches.masks.MaskData.seen`.

    Args:
        loss: ``loss(outputs, mask_BDHW) -> {name: scalar}``; None where nothing is trained.
        augment: ``augment(x, mask, ids, seed, epoch) -> (x, mask)``; only in training.
        mirrored: axes (0, 1, 2 of D, H, W) along which evaluation looks at mirrored views too.
        tolerance: mm by which surfaces may differ and count as the same.
        largest_component: of which classes only the largest component counts: all, none, or ``auto``, those of the
            decision.
        validation: what is looked at of a case after an epoch; see `pieces`.

    Attributes:
        form: what is written of a case, as `medtrain.task.segmentation.files.FORMATS` names it.
        near: voxels whose label is so nearly another one are noted beside label maps, for proofs; 0 for none.
    """

    form: str = LABELS
    near: float = 0.0

    loss: nn.Module | None
    augment: nn.Module | None
    usual_target: ClassVar[type[Target]] = MaskTarget

    def __init__(
        self,
        *args: Any,
        loss: nn.Module | None = None,
        augment: nn.Module | None = None,
        mirrored: tuple[int, ...] = (),
        tolerance: float = 2.0,
        validation: Look = "whole",
        largest_component: bool | str = False,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.loss, self.augment, self.mirrored, self.tolerance = loss, augment, mirrored, tolerance
        self.validation, self.largest_component = validation, largest_component
        assert isinstance(self.spec.target, MaskTarget)
        self.target = self.spec.target

    @classmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        return DataSpec(MaskTarget(("1", "2")), 1, shape_of(data.get("patch_size") or 16, 3), (1.0, 1.0, 1.0))

    @classmethod
    def options(
        cls, task: Mapping[str, Any], evaluation: Mapping[str, Any], augment: Mapping[str, Any], spec: DataSpec
    ) -> dict[str, Any]:
        refuse_unused(task, evaluation, "tta", "mc_dropout")
        axes = mirrored_axes(augment, spec.directed)
        look = task.get("validation") or "whole"
        return {
            "mirrored": axes if task.get("mirror") else (),
            "tolerance": tolerance_of(evaluation),
            "validation": look,
            "largest_component": word if (word := evaluation.get("largest_component")) is not None else AUTO,
        }

    @classmethod
    def judge_of_files(cls, spec: DataSpec, evaluation: Mapping[str, Any]) -> MaskJudge:
        return MaskJudge(spec.classes, tolerance_of(evaluation))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        assert self.loss is not None
        x, mask = batch["x"], batch["mask"]
        if self.augment is not None:
            ids = torch.stack([batch[key] for key in ("case", "draw", "instance") if key in batch], 1)
            x, mask = self.augment(x, mask, ids, seed=self.seed, epoch=self.current_epoch)
        parts: dict[str, Tensor] = self.loss(self.model(x), mask)
        return parts

    @property
    def largest(self) -> list[int]:
        """Number the classes of which only the largest component counts."""
        if self.largest_component != AUTO:
            return list(range(len(self.spec.classes))) if self.largest_component else []
        chosen = self.decision.largest if self.decision else ()
        return [number for number, name in enumerate(self.spec.classes) if name in chosen]

    def probabilities(self, row: int, mirrored: tuple[int, ...] = ()) -> tuple[Voxels, Triple]:
        """Compute (K, D, H, W) of a row of the data's cases, the mean over an ensemble's members, each of which sees it
        at its own spacing, on its own scale, through windows of its own; and the mm a voxel along D, H, W.

        It is the final word on a case: windows of the planned size that overlap by half, in 32 bits as an export.
        """
        members = zip(members_of(self.model), specs_of(self.model, self.spec), strict=True)
        views = [
            View(partial(self._window, member, mirrored), self.truth.seen(row, spec), spec.size, spec.spacing)
            for member, spec in members
        ]
        with torch.autocast(self.device.type, enabled=False):
            return mean_of(views, self.truth.own_case(row).images[0])

    def _window(self, member: nn.Module, mirrored: tuple[int, ...], x_BCDHW: Voxels) -> Voxels:
        """Compute the probabilities of one network for a window, the mean over mirrored views."""
        x, number = torch.from_numpy(x_BCDHW).to(self.device), len(x_BCDHW)
        x = x.expand(2, *x.shape[1:]) if too_small_alone(x) and not mirrored else x
        probabilities = partial(said_by, member, bool(self.target.regions))
        probs: Tensor = mean_of_views(probabilities, x, mirrored, torch.flip, torch.cat)
        return np.asarray(probs[:number].float().cpu().numpy())

    def outputs(self, batch: Batch) -> dict[str, Any]:
        """Compute ``case`` (1,) and, where masks are known, ``overlap`` (1, C, 3): voxels that both masks, the
        predicted and the true one have of each class, at the working spacing, in what validation looks at."""
        made, row = {"case": batch["case"]}, int(batch["case"][0])
        truth = self.truth.seen_truth(row)
        if truth is None:
            return made
        rows = np.zeros((len(self.target.parts), 3))
        window = partial(self._window, self.model, ())
        for x, mask in pieces(self.truth.seen(row, self.spec), truth, self.target, self.spec.size, self.validation):
            probs = whole_volume(window, x, *quick_windows(x.shape[1:], self.spec.size))
            pairs = zip(self._masks(probs), self.target.classes_in(mask), strict=True)
            rows += [[(p & t).sum(), (p & (mask >= 0)).sum(), t.sum()] for p, t in pairs]
        return made | {"overlap": torch.from_numpy(rows)[None]}

    def _masks(self, probs_KDHW: Voxels) -> list[NDArray[np.bool_]]:
        """Decide which voxels belong to each class."""
        if self.target.regions:
            return filled(list(probs_KDHW >= SURE), self.target.layout)
        label = torch.from_numpy(probs_KDHW).argmax(0).numpy()
        return [label == number for number in range(1, len(probs_KDHW))]

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """Write the label map of a case on its file's own grid; ``file`` [its path] and ``measured`` (1, C, M), and
        where nothing has been decided yet ``largest`` (1, C, M), of the largest components."""
        row = int(batch["case"][0])
        image = self.truth.own_case(row).images[0]
        probs, spacing = self.probabilities(row, self.mirrored)
        label, masks = self.on_own(probs, spacing, image)
        file = Path(self.trainer.default_root_dir) / ".masks" / f"{row}.nii.gz"
        file = write_maps(self.form, file, self.truth, row, self.spec.classes, (label, masks), (probs, spacing))
        if self.near:
            place, margin = near_ties(probs, spacing, image, bool(self.target.regions), self.near)
            np.savez(ties_of(file), place=place, margin=margin)
        made = {"case": batch["case"], "file": [str(file)]}
        made["volume"] = torch.tensor([masks_ml(masks, image.spacing)], dtype=torch.float64)
        truth = self.truth.own_truth(row)
        if truth is None:
            return made
        known, true = truth >= 0, self.target.classes_in(truth)
        rows = [measure(p & known, t, image.spacing, self.tolerance) for p, t in zip(masks, true, strict=True)]
        made["measured"] = torch.from_numpy(np.stack(rows))[None]
        if self.largest_component != AUTO or self.decision is not None:
            return made
        pieces_of = [largest_component(mask) for mask in masks]
        again = [
            row if piece is mask else measure(piece & known, t, image.spacing, self.tolerance)
            for row, piece, mask, t in zip(rows, pieces_of, masks, true, strict=True)
        ]
        return made | {"largest": torch.from_numpy(np.stack(again))[None]}

    def on_own(
        self, probs_KDHW: Voxels, spacing: Triple, image: Any
    ) -> tuple[NDArray[np.uint16], list[NDArray[np.bool_]]]:
        """Bring probabilities to the file's own grid: a label map as files have it, and the voxels of each class."""
        return decided(probs_KDHW, spacing, image, self.target.file_codes, self.target.layout, self.largest)

    def score(self, outputs: Outputs) -> dict[str, float]:
        rows = [(int(b["case"][0]), b["overlap"][0].numpy()) for b in outputs if "overlap" in b]
        overlap_NC3 = np.stack(list(dict(rows).values()))
        both, sums = overlap_NC3[..., 0], overlap_NC3[..., 1] + overlap_NC3[..., 2]
        dice_NC = np.where(sums > 0, 2 * both / np.maximum(sums, 1), np.nan)
        by_class = [float(np.nanmean(dice)) for dice in dice_NC.T if np.isfinite(dice).any()]
        return {"dice": float(np.mean(by_class)) if by_class else 0.0}

    def fit_decision(self, outputs: Outputs, policy: str | float, cases: pd.DataFrame | None = None) -> Decision:
        """Decide of which classes only the largest component counts: the likeliest label does. The label maps of
        validation go."""
        for batch in outputs:
            for file in batch.get("file", ()):
                Path(file).unlink(missing_ok=True)
        return Decision(policy, 1.0, {}, no_sets=NO_SETS, components=compared(outputs, self.spec.classes))

    def evaluate(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision, options: EvalOptions) -> Outcome:
        judged = {int(b["case"][0]): counted(b, self.largest) for b in outputs if "measured" in b}
        numbers = sorted(judged)
        measured_NCM = np.stack([judged[n] for n in numbers])
        rows = cases.iloc[numbers][["case", "patient"]]
        moved = self._move_masks(outputs, cases, Path(self.trainer.default_root_dir))
        rows = rows.assign(mask=[moved.get(number, "") for number in numbers])
        outcome = judge_masks(rows, measured_NCM, self.spec.classes, options.of_cases(numbers), self.tolerance)
        outcome.metrics["largest_component"] = [self.spec.classes[number] for number in self.largest]
        if not any(
            "largest" in batch for batch in outputs
        ):  # of validation, by which it was decided, it is not said again
            outcome.warnings.extend(in_words(decision.components, outcome.metrics["largest_component"]))
        return outcome

    def _move_masks(self, outputs: Outputs, cases: pd.DataFrame, folder: Path) -> dict[int, str]:
        """Put label maps where people look for them; gives the place of each in `folder`, by case number."""
        (folder / MASKS).mkdir(exist_ok=True)
        names, moved = names_of_maps(map(str, cases["case"])), {}
        for batch in outputs:
            for row, file in zip(batch["case"].tolist(), batch.get("file", ()), strict=False):
                if Path(file).is_file():  # those of validation are gone
                    moved[row] = f"{MASKS}/{names[row]}"
                    shutil.move(file, folder / moved[row])
        shutil.rmtree(folder / ".masks", ignore_errors=True)
        return moved

    def save(self, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> None:
        """Write a table of volumes, a row an input, and beside it a folder with a label map of each."""
        save_masks(output, {int(b["case"][0]): b for b in outputs}, inputs, self.spec.classes)

    @classmethod
    def check_format(cls, form: str, output: Path) -> None:
        check_form(form)

    def ready_for(self, form: str, inputs: Data) -> None:
        check_inputs(form, inputs)
        self.form = form

    def save_as(self, form: str, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> str:
        self.save(output, outputs, inputs, decision)
        return f"format={form}: {FORMATS[form]} beside {output}"

    def draw_mistakes(self, folder: Path, data: Data, most: int) -> None:
        assert isinstance(data, MaskData)
        draw_cases(folder, data, self.target, most)

    def explain(self, request: Request) -> Explanation:
        return explain_masks(self, request)

    def portable(self, request: ExportRequest) -> Portable:
        """Make the export of a segmentation: the network of a window, and the plan by which cases are cut."""
        return portable_masks(self, request)

    def batch_size(self, batch: Batch) -> int:
        return len(batch["case"])


def tolerance_of(evaluation: Mapping[str, Any]) -> float:
    """Read by how many mm surfaces may differ and count as the same."""
    return float(evaluation.get("tolerance") or 2.0)

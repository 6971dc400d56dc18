"""explain for probes: covers over a picture, seen through its encoder; what each slice of a volume contributes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_offsets
from medtrain.data.batches.encoded import encode_channels
from medtrain.data.batches.patches import GridPatches
from medtrain.encoder import Encoder
from medtrain.explain.bags import METHODS, methods
from medtrain.explain.names import safe_name, unique_names
from medtrain.model import Ensemble, members_of
from medtrain.report.progress import bar
from medtrain.task.base import Batch, scaled
from medtrain.task.classification.classes import decision_in_words, predicted, wanted_classes
from medtrain.task.classification.explain_images import explain_images
from medtrain.task.classification.explain_volumes import COLUMNS, CaseMap, write_case_map
from medtrain.task.classification.methods import COVERED
from medtrain.task.explanation import Explanation, Request


class ThroughEncoder(nn.Module):
    """An encoder and a probe as one network, from pictures in 0..1 (B, C, H, W) to logits.

    Args:
        colours: are three channels red, green and blue?
    """

    def __init__(self, encoder: Encoder, probe: nn.Module, colours: bool) -> None:
        super().__init__()
        self.encoder, self.probe, self.colours = encoder, probe, colours

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.probe(bags_of_one(encode_channels(self.encoder, x_BCHW, self.colours)))
        return logits


class Seeing:
    """A trained probe that takes pictures, as what explains pictures asks of a task."""

    def __init__(self, task: Any, data: Any) -> None:
        self.task, self.target, self.spec = task, task.target, data.whole_cases.spec
        self.colours = self.spec.dims == 2
        self.encoder: Encoder = data.encoder.to(task.device)
        members = [ThroughEncoder(self.encoder, member, self.colours) for member in members_of(task.model)]
        self.model = (Ensemble(members) if len(members) > 1 else members[0]).eval()

    def inputs(self, batch: Batch) -> Tensor:
        self.show(batch)
        return scaled(batch["x"])

    def show(self, batch: Batch, rows: Any = slice(None)) -> None:
        self.task.show(batch, rows)

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        packed = bags_of_one(encode_channels(self.encoder, batch["x"], self.colours))
        outputs: dict[str, Any] = self.task.final_outputs({**batch, "x": packed.x, "offsets": packed.offsets})
        return outputs

    def predictions(self, *args: Any) -> Any:
        return self.task.predictions(*args)


def bags_of_one(features_BD: Tensor) -> Packed:
    """Give each row of features a bag of its own."""
    return Packed(features_BD, segment_offsets([1] * len(features_BD)).to(features_BD.device))


def explain_pictures(task: Any, request: Request) -> Explanation:
    """Write maps of how much the logit falls under covers over the picture.

    Raises:
        UsageError: a method that asks for gradients or attention, which an encoder does not give; cases of several.
    """
    if request.method not in ("all", COVERED):
        raise UsageError(f"explain.method={request.method}: a probe on features has {COVERED}; leave it out")
    whole: Any = request.data
    if whole.grouping is not None:
        raise UsageError("explain: there is none yet of features of several pictures a case (data.columns.case)")
    return explain_images(Seeing(task, whole), replace(request, data=whole.whole_cases, method=COVERED))


def explain_slices(task: Any, request: Request) -> Explanation:
    """Write maps of what each slice of the patches of a volume adds to the logit, or of the network's attention."""
    explanation, data = Explanation(COLUMNS), request.data
    whole: Any = data
    patches = whole.whole_cases.dataset(data.readable)
    if not isinstance(patches, GridPatches):
        raise UsageError("explain of a probe takes volumes from files: those of an archive have no place to write to")
    named, wanted = methods(task.model, request.method), wanted_classes(request.classes, task.spec.classes)
    names, progress = unique_names([safe_name(case) for case in data.cases["case"]]), bar("explaining", "volumes")
    classes = list(task.spec.classes)
    for loaded in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(request.device) for key, value in loaded.items()}
        with torch.no_grad():
            seen = {key: value.cpu() for key, value in task.final_outputs(batch).items()}
        table, bags = task.predictions([seen], data.cases, request.decision), task.inputs(batch)
        for number, case in enumerate(batch["case"].tolist()):
            row = table.loc[case]
            chosen = predicted(row, classes)
            for method in named:
                for name in chosen[:1] if method == "attention" else wanted or chosen:
                    class_1 = task.target.outputs_for(torch.tensor([classes.index(name)], device=request.device))
                    values_N = METHODS[method](task.model, bags.alone(number), class_1)[0].float().cpu()
                    parts = list(enumerate(values_N.reshape(-1, patches.form.size[0], 1, 1).numpy()))
                    drawn = CaseMap(method, name, parts, row, decision_in_words(row, classes))
                    explanation.rows.append(write_case_map(drawn, request, patches, case, names[case]))
        progress(len({row["row"] for row in explanation.rows}), len(data.readable))
    return explanation

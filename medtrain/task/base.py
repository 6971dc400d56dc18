"""Task: the loop that all tasks share. A subclass says what the loss is and what comes out of a batch.

Outputs of all batches and ranks are gathered before they are judged, so a metric is that of the whole set, never a
mean over batches or ranks; each case counts once, however it was spread or padded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medtrain.core.errors import UsageError
from medtrain.core.streams import torch_seed
from medtrain.data.base import Data
from medtrain.export.portable import ExportRequest, Portable
from medtrain.metric import EvalOptions
from medtrain.report.page import SECTIONS
from medtrain.report.views import Drawer
from medtrain.target import DataSpec, Decision, Outcome, Target
from medtrain.task.explanation import Explanation, Request
from medtrain.task.gathering import Outputs, gather, select, several_ranks, to_cpu
from medtrain.task.means import EpochMeans
from medtrain.transfer import Transfer, scale_rates

Batch = Any


class Task(pl.LightningModule):
    """A network with its loss, optimizer and judgement.

    Args:
        spec: what the data are.
        model: the network.
        optimizer, scheduler: builders, called as ``optimizer(params)`` and ``scheduler(optimizer, total_steps=n)``;
            None where nothing is trained.
        transfer: what of the network trains, when, at what rate; by default all of it.
        seed: of dropout and augmentation.
        facts: plain values stored in the checkpoint beside the spec.

    Attributes:
        usual_target: what is predicted as a rule, for checks before any data are read.
        truth: what is known of the cases beyond their labels, as the data have it: boxes.
        gate_N: what the scores of each case's boxes are multiplied by, from another network; None for nothing.
        decision: how a trained run's predictions become what they say; None until it is made.
        results: the gathered outputs of the last evaluated set.
        place: epoch, batch and rank of the training step, which random streams are drawn from.
    """

    usual_target: ClassVar[type[Target]]

    def __init__(
        self,
        spec: DataSpec,
        model: nn.Module,
        *,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        transfer: Transfer | None = None,
        seed: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.model, self.seed = spec, model, seed
        self._optimizer, self._scheduler = optimizer, scheduler
        self.transfer = transfer or Transfer()
        self.facts = dict(facts or {})
        self.truth: Any = None
        self.gate_N: Any = None
        self.decision: Decision | None = None
        self.results: Outputs = []
        self._seen: Outputs = []
        self._rate = 0.0
        self.place = (0, 0, 0)
        self.means = EpochMeans()

    @classmethod
    @abstractmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        """Make a spec such as data of these nodes could have, before they are read: two classes, the wanted size."""

    @classmethod
    @abstractmethod
    def options(
        cls, task: Mapping[str, Any], evaluation: Mapping[str, Any], augment: Mapping[str, Any], spec: DataSpec
    ) -> dict[str, Any]:
        """Read the constructor's further arguments from the nodes of a configuration.

        Raises:
            UsageError: the nodes ask for what this task can't do.
        """

    @classmethod
    @abstractmethod
    def judge_of_files(cls, spec: DataSpec, evaluation: Mapping[str, Any]) -> Any:
        """Make what judges several runs as one from the files that they wrote: `fold`, `fit_whole` and `judge`, as
        `medtrain.task.classification.out_of_fold.ClassJudge` has them."""

    @classmethod
    def check(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Refuse nodes that don't go together (UsageError), before any data are read."""

    @classmethod
    def fit_network(cls, network: nn.Module, task: Mapping[str, Any]) -> nn.Module:
        """Give a network the outputs that the options of this task need; most need no others."""
        return network

    @classmethod
    def fitting_loss(cls, network: nn.Module, loss: nn.Module) -> str | None:
        """Say which loss to take instead, where this one is none for the network; None where it fits."""
        return None

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the named parts of the training loss; their sum is minimised."""

    @abstractmethod
    def outputs(self, batch: Batch) -> dict[str, Any]:
        """Compute what is kept of an evaluated batch: tensors with a row an instance, or lists with an item a case."""

    def validated(self, batch: Batch) -> dict[str, Any]:
        """Compute `outputs` and what else `score` needs, after an epoch; there is a truth."""
        return self.outputs(batch)

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """Compute `outputs`, where a batch is judged or predicted for good rather than after an epoch."""
        return self.outputs(batch)

    def reduce(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Boil outputs of a batch down to what is judged, before ranks gather them; most are small already."""
        return outputs

    @abstractmethod
    def score(self, outputs: Outputs) -> dict[str, float]:
        """Compute quick metrics of a whole set, logged as ``val_NAME`` after each epoch."""

    def of_cases(self, outputs: Outputs, wanted: Tensor) -> Outputs:
        """Take the outputs of some cases, by their numbers."""
        return select(outputs, wanted)

    @abstractmethod
    def fit_decision(self, outputs: Outputs, policy: str | float, cases: pd.DataFrame | None = None) -> Decision:
        """Fit temperature and thresholds to the outputs of the validation cases.

        Args:
            cases: the data's table of cases, for policies that look at patients; None: each case is its own.
        """

    def complete_decision(self, decision: Decision, learned: Outputs) -> Decision:
        """Complete a decision by the outputs of the training cases, where the target looks back at them."""
        return decision

    @abstractmethod
    def evaluate(
        self,
        outputs: Outputs,
        cases: pd.DataFrame,
        decision: Decision,
        options: EvalOptions,
    ) -> Outcome:
        """Compute all metrics with intervals, and the predictions.

        Args:
            cases: the data's table of cases (case, patient, ...), in the order of case numbers.
            options: how to judge them; groups in the order of case numbers.
        """

    @abstractmethod
    def save(self, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> None:
        """Write the predictions of `predict`, and why inputs could not be read.

        Args:
            outputs: of the readable inputs; none where there are none.
        """

    @classmethod
    def check_format(cls, form: str, output: Path) -> None:
        """Refuse a format of predictions that this task does not write, or not there (UsageError)."""
        raise UsageError(f"format={form}: boxes and masks have formats; this task writes a CSV, so leave it out")

    def ready_for(self, form: str, inputs: Data) -> None:
        """Get ready to write predictions of these inputs in a format (UsageError where there is none of them)."""

    def save_as(self, form: str, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> str:
        """Write the predictions of `predict` for another tool; says what was left out."""
        raise NotImplementedError

    def sections(self) -> Sequence[Drawer]:
        """List the sections of the report from top to bottom; those whose forms don't fit the run are left out."""
        return SECTIONS

    @abstractmethod
    def draw_mistakes(self, folder: Path, data: Data, most: int) -> None:
        """Write pictures of the worst mistakes into the folder of a judged split; `most` of them."""

    @abstractmethod
    def explain(self, request: Request) -> Explanation:
        """Write pictures of what predictions rest on, and a check that they depend on what was learned."""

    def portable(self, request: ExportRequest) -> Portable:
        """Make what an export of this task is: a network with its preprocessing and decision, and how it is fed.

        Raises:
            UsageError: there is no export of it.
        """
        raise UsageError(f"export: there is none of task={self.facts.get('task')} yet")

    @abstractmethod
    def batch_size(self, batch: Batch) -> int:
        """Count the cases in a batch, for the log's means."""

    def configure_optimizers(self) -> Any:
        if self._optimizer is None:
            return None
        optimizer = self._optimizer(self.transfer.groups(self.model, self.parameters()))
        scale_rates(optimizer)
        if self._scheduler is None:
            return optimizer
        scheduler = self._scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        settings = {"scheduler": scheduler, "interval": "step"}
        if isinstance(scheduler, ReduceLROnPlateau):
            # after the epoch's last step: Lightning's own "epoch" comes after last.ckpt is written, and a resumed
            # run would miss it
            monitor = getattr(scheduler, "monitor", "val_loss")
            settings |= {"monitor": monitor, "frequency": int(self.trainer.num_training_batches)}
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def on_train_start(self) -> None:
        """Call the beginning of an epoch that a run goes on in the middle of, which Lightning leaves out.

        It also gives loaders their state only if they are made after that is read; `total_steps` needs them before.
        """
        if self.trainer.fit_loop.restarted_mid_epoch:
            progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
            loader: Any = self.trainer.train_dataloader
            loader.load_state_dict({"batches": progress.processed})
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_train_epoch_start(self.trainer, self)
            self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        self.transfer.enter_epoch(self.model, self.current_epoch, self.trainer.world_size > 1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.transfer.drop_gradients(self.model, self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank): a resumed run draws what an undisturbed one would have."""
        self.place = (self.current_epoch, batch_idx, self.global_rank)
        # of a CPU its own generator: torch.manual_seed would note with a stack trace what every absent device has to do
        seed = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed(torch_seed(self.seed, "step", *self.place))
        self._rate = max(float(group["lr"]) for group in self.trainer.optimizers[0].param_groups)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        parts = self.losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        named = {f"train_{name}": value for name, value in parts.items()} if len(parts) > 1 else {}
        place = f"epoch {self.current_epoch}, batch {batch_idx}"
        self.means.add({"train_loss": loss} | named, self.batch_size(batch), place)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("lr", self._rate, rank_zero_only=True)  # of the epoch's last step
        self.log_dict(self.means.close(self.device), rank_zero_only=False)  # equal on every rank

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._seen.append(to_cpu(self.reduce(self.validated(batch))))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._seen.append(to_cpu(self.reduce(self.final_outputs(batch))))

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        self._seen.append(to_cpu(self.reduce(self.final_outputs(batch))))

    def _gather(self) -> Outputs:
        own, self._seen = self._seen, []
        return gather(own)

    def on_validation_epoch_start(self) -> None:
        """Give every rank the batch statistics of rank 0 to validate with; the checkpoint has them."""
        for buffer in self.buffers() if several_ranks() else ():
            dist.broadcast(buffer, 0)

    def on_validation_epoch_end(self) -> None:
        self.results = self._gather()
        scores = self.score(self.results)
        # gathered, so equal on every rank: nothing is left to average
        self.log_dict({f"val_{name}": value for name, value in scores.items()}, rank_zero_only=False)

    def on_test_epoch_end(self) -> None:
        self.results = self._gather()

    def on_predict_epoch_end(self) -> None:
        self.results = self._gather()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        running = self.means.state(self.device)
        state = {"running_means": running, "world_size": self.trainer.world_size}
        checkpoint["medtrain"] = {"spec": self.spec.to_dict(), **self.facts, **state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the losses of the epoch so far."""
        if "running_means" in checkpoint["medtrain"]:
            self.means.load(checkpoint["medtrain"]["running_means"], self.global_rank)


def refuse_unused(task: Mapping[str, Any], evaluation: Mapping[str, Any], *keys: str) -> None:
    """Refuse keys of `eval` that this task does without (UsageError)."""
    for key in keys:
        if wanted := evaluation.get(key):
            raise UsageError(f"eval.{key}={wanted}: task={task['name']} does without; leave it out")


def shape_of(size: int | Sequence[int] | None, dims: int) -> tuple[int, ...]:
    """Read a size as configurations have it: one number for all sides, or one a side; 64 where it is not given."""
    return (size or 64,) * dims if isinstance(size, int | None) else tuple(size)[:dims]


def scaled(x: Tensor) -> Tensor:
    """Scale pixels to floating point in 0..1."""
    return x if x.is_floating_point() else x.float() / torch.iinfo(x.dtype).max


def first_rows(keys_NK: Tensor) -> Tensor:
    """Find where each distinct row of keys stands first, in ascending order of the keys."""
    _, inverse, counts = torch.unique(keys_NK, dim=0, return_inverse=True, return_counts=True)
    return torch.argsort(inverse, stable=True)[torch.cumsum(counts, 0) - counts]

"""Whether a network for bags calls a bag positive by what is in it, or by what it lacks.

    python scripts/benchmarks/evidence.py

after Raff and Holt, Reproducibility in multiple instance learning: a case for algorithmic unit tests, NeurIPS 2023. In
training each positive bag holds an instance of a faint kind that makes it so, and each negative bag some of a loud
kind that mean nothing. `as trained` are further such bags; in `moved` the loud ones lie in the positive bags. A bag is
positive by its faint instance in both, so a network that has learned that ranks both alike; one that has learned that
bags without the loud kind are positive ranks the second upside down. Accuracy and AUROC of the first, AUROC of the
second, and the accuracy of networks trained and tested on bags without any of the loud kind; the mean of several seeds.

The last row is the most that anybody reaches who goes by the faint kind alone: the likelihood ratio of the two kinds of
bags, with their true distributions. An accuracy above it goes by the loud kind, that is by what a bag lacks.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from medtrain import model
from medtrain.core.segments import Packed, segment_logsumexp, segment_offsets
from medtrain.target import DataSpec

WIDTH, LOUD, SEVERAL = 16, 12.0, 3
NETWORKS = {
    "mean_mil": {},
    "attention_mil": {},
    "gated_attention_mil": {},
    "topk_mil": {},
    "max_mil": {},
    "attention_mil evidence=positive": {"evidence": "positive"},
    "gated_attention_mil evidence=positive": {"evidence": "positive"},
}


def drawn(bags: int, seed: int, loud: str, faint: float) -> tuple[Packed, Tensor]:
    """Draw bags of 10 to 30 instances, every second one positive; returns them and y (B, 1).

    Args:
        loud: which bags hold the loud kind: ``negative``, ``positive`` or ``no``.
        faint: how many standard deviations the instance that makes a bag positive lies off the others.
    """
    draw = np.random.default_rng(seed)
    parts = []
    for bag in range(bags):
        x_ND = draw.normal(0, 1, (draw.integers(10, 31), WIDTH))
        positive = bag % 2 == 1
        if positive:
            x_ND[0, 0] += faint
        if loud == ("positive" if positive else "negative"):
            x_ND[1 : 1 + SEVERAL, 1] += LOUD
        parts.append(torch.from_numpy(x_ND).float())
    y_B1 = (torch.arange(bags) % 2).float()[:, None]
    return Packed(torch.cat(parts), segment_offsets([len(part) for part in parts])), y_B1


class Likelihood(nn.Module):
    """Log of the likelihood ratio of bags with and without one instance of the faint kind."""

    def __init__(self, faint: float) -> None:
        super().__init__()
        self.faint = faint

    def forward(self, bags: Packed) -> Tensor:
        """Compute (B, 1)."""
        ratios_N1 = self.faint * bags.x[:, :1] - self.faint**2 / 2
        return segment_logsumexp(ratios_N1, bags.offsets) - bags.offsets.diff()[:, None].log()


def trained(name: str, seed: int, epochs: int, loud: str, faint: float) -> nn.Module:
    """Train a network with medtrain's usual optimizer, rate and size of batches."""
    torch.manual_seed(seed)
    builder = getattr(model, name.split()[0])
    network: nn.Module = builder(DataSpec.of("binary", ("0", "1"), WIDTH), dropout=0.25, **NETWORKS[name])
    whole, y_B1 = drawn(400, 10 * seed, loud, faint)
    bags, optimizer = whole.x.split(whole.offsets.diff().tolist()), torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(epochs):
        for some in torch.randperm(len(bags)).split(8):
            batch = Packed(torch.cat([bags[n] for n in some]), segment_offsets([len(bags[n]) for n in some]))
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(batch), y_B1[some]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def judged(network: nn.Module, seed: int, loud: str, faint: float) -> tuple[float, float]:
    """Compute accuracy and AUROC."""
    bags, y = drawn(1000, 10 * seed + 1 + (loud == "positive"), loud, faint)
    logits = network(bags)
    return float(((logits > 0).float() == y).float().mean()), roc_auc_score(y[:, 0], logits[:, 0])


def row(name: str, seed: int, epochs: int, faint: float) -> list[float]:
    """Compute a row's figures for one seed; without a name those of the likelihood."""
    usual, plain = (
        trained(name, seed, epochs, loud, faint) if name else Likelihood(faint) for loud in ("negative", "no")
    )
    moved = judged(usual, seed, "positive", faint)[1]
    return [*judged(usual, seed, "negative", faint), moved, judged(plain, seed, "no", faint)[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--faint", type=float, default=6.0, help="8 stands out from all others")
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), help="rows of the table")
    wanted = parser.parse_args()
    print(
        "| `model=` | accuracy, as trained | AUROC, as trained | AUROC, moved | accuracy, none loud |\n"
        + "|---" * 5
        + "|"
    )
    for name in (*wanted.models, ""):
        rows = [row(name, seed, wanted.epochs, wanted.faint) for seed in range(wanted.seeds)]
        cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
        print(f"| {name or 'the most that the faint kind allows'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

"""Whether a network for bags calls a bag positive by what is in it, or by what it lacks.

    python scripts/benchmarks/evidence.py

after Raff and Holt, Reproducibility in multiple instance learning: a case for algorithmic unit tests, NeurIPS 2023. In
training each positive bag holds an instance of a faint kind that makes it so, and each negative bag some of a loud
kind that mean nothing. `as trained` are further such bags; in `moved` the loud ones lie in the positive bags. A bag is
positive by its faint instance in both, so a network that has learned that ranks both alike; one that has learned that
bags without the loud kind are positive ranks the second upside down. Accuracy and AUROC of the first, AUROC of the
second, the mean of several seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from medtrain import model
from medtrain.core.segments import Packed, segment_offsets
from medtrain.target import DataSpec

WIDTH, FAINT, LOUD, SEVERAL = 16, 6.0, 12.0, 3
NETWORKS = {
    "mean_mil": {},
    "attention_mil": {},
    "gated_attention_mil": {},
    "topk_mil": {},
    "max_mil": {},
    "attention_mil evidence=positive": {"evidence": "positive"},
    "gated_attention_mil evidence=positive": {"evidence": "positive"},
}


def drawn(bags: int, seed: int, moved: bool) -> tuple[Packed, Tensor]:
    """Draw bags of 10 to 30 instances, every second one positive; returns them and y (B, 1)."""
    draw = np.random.default_rng(seed)
    parts = []
    for bag in range(bags):
        x_ND = draw.normal(0, 1, (draw.integers(10, 31), WIDTH))
        positive = bag % 2 == 1
        if positive:
            x_ND[0, 0] += FAINT
        if positive == moved:
            x_ND[1 : 1 + SEVERAL, 1] += LOUD
        parts.append(torch.from_numpy(x_ND).float())
    y_B1 = (torch.arange(bags) % 2).float()[:, None]
    return Packed(torch.cat(parts), segment_offsets([len(part) for part in parts])), y_B1


def trained(name: str, seed: int, epochs: int) -> nn.Module:
    """Train a network with medtrain's usual optimizer, rate and size of batches."""
    torch.manual_seed(seed)
    builder = getattr(model, name.split()[0])
    network: nn.Module = builder(DataSpec.of("binary", ("0", "1"), WIDTH), dropout=0.25, **NETWORKS[name])
    (x_ND, offsets, _), y_B1 = drawn(400, 10 * seed, moved=False)
    bags, optimizer = x_ND.split(offsets.diff().tolist()), torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(epochs):
        for some in torch.randperm(len(bags)).split(8):
            batch = Packed(torch.cat([bags[n] for n in some]), segment_offsets([len(bags[n]) for n in some]))
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(batch), y_B1[some]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def judged(network: nn.Module, seed: int) -> tuple[float, float, float]:
    """Compute accuracy and AUROC as trained, and AUROC moved."""
    (usual, y), (moved, _) = drawn(1000, 10 * seed + 1, False), drawn(1000, 10 * seed + 2, True)
    logits = network(usual)
    accuracy = float(((logits > 0).float() == y).float().mean())
    return accuracy, roc_auc_score(y[:, 0], logits[:, 0]), roc_auc_score(y[:, 0], network(moved)[:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    wanted = parser.parse_args()
    print("| `model=` | accuracy, as trained | AUROC, as trained | AUROC, moved |\n|---|---|---|---|")
    for name in NETWORKS:
        rows = np.array([judged(trained(name, seed, wanted.epochs), seed) for seed in range(wanted.seeds)])
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in rows.mean(0)) + " |", flush=True)


if __name__ == "__main__":
    main()

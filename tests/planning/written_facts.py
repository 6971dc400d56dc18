"""Facts that are written down, of data and machines that nobody has."""

from __future__ import annotations

from typing import Any

from medtrain.planning import Facts, Machine, choose

CPU = Machine(cores=4, memory_gb=16)
GPU = Machine(cores=16, memory_gb=128, gpu="A100", gpu_gb=40, half=True)


def counts(sick: int, well: int) -> dict[str, Any]:
    return {"sick": {"images": sick, "patients": sick, "negatives": well, "factor": well / sick}}


def facts(train: int = 2000, sick: int = 1000, machine: Machine = CPU, **more: Any) -> Facts:
    shares = {"train": 7, "val": 1, "test": 2}
    cases = {name: train * share // 7 for name, share in shares.items()}
    of_class = {name: counts(max(1, sick * share // 7), (train - sick) * share // 7) for name, share in shares.items()}
    return Facts("images", cases, cases, of_class, machine, **{"size": (1024, 900)} | more)


def chosen(kind: str, given: Facts) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choose(kind, given)}


def with_classes(numbers: dict[str, tuple[int, int, int]], **more: Any) -> Facts:
    """Facts of {class: patients of training, validation, test}, an image each."""
    splits = ("train", "val", "test")
    cases = {split: sum(n[i] for n in numbers.values()) for i, split in enumerate(splits)}
    most = max(n[0] for n in numbers.values())
    rows = {
        split: {name: {"images": n[i], "patients": n[i], "factor": most / n[i]} for name, n in numbers.items() if n[i]}
        for i, split in enumerate(splits)
    }
    return Facts("images", cases, cases, rows, CPU, **{"size": (1024, 900)} | more)

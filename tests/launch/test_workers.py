"""Which GPUs the workers of a search get."""

from __future__ import annotations

import pytest

from medtrain.launch.workers import gpu_shares, visible_gpus


@pytest.mark.parametrize(
    ("workers", "devices", "visible", "wanted"),
    [
        (2, 1, [], []),
        (2, 1, ["0", "1", "2"], ["0", "1"]),
        (2, 2, ["4", "5", "6", "7"], ["4,5", "6,7"]),
        (4, 1, ["0", "1"], ["0", "1", "0", "1"]),
        (3, 2, ["0", "1", "2"], ["0,1", "0,1", "0,1"]),
        (2, 4, ["GPU-a", "GPU-b"], ["GPU-a,GPU-b", "GPU-a,GPU-b"]),
    ],
)
def test_shares(workers: int, devices: int, visible: list[str], wanted: list[str]) -> None:
    assert gpu_shares(workers, devices, visible) == wanted


def test_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert visible_gpus() == ["3", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []

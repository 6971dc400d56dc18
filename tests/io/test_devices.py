"""Devices, pipes and sockets where files are expected: they are none, and nobody waits for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medtrain.data.rows.header_patients import header_patients
from medtrain.io.dicom_files import dicom_files, is_dicom_file
from medtrain.io.image import read_image
from medtrain.io.volume_source import state_of


@pytest.fixture(params=["/dev/zero", "/dev/random", "/dev/full", "pipe", "link"])
def device(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    return tmp_path / request.param


def test_no_file(device: Path, tmp_path: Path) -> None:
    assert dicom_files(device) == [] and not is_dicom_file(device)
    assert state_of(device)[0] < 0
    assert header_patients([device], tmp_path / "cache") == [None]
    with pytest.raises(ValueError, match="a pipe or a device"):
        read_image(device)

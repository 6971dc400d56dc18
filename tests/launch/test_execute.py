"""What a job leaves behind in its process: nothing that the next one would take for its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from medtrain.core.verb import Verb
from medtrain.launch.execute import execute


def test_the_environment_of_a_job_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(*_: object) -> None:
        os.environ |= {"LOCAL_RANK": "1", "MASTER_PORT": "1", "PL_GLOBAL_SEED": "7", "WORLD_SIZE": "2"}
        del os.environ["KEPT"]

    monkeypatch.setitem(sys.modules, "fake", SimpleNamespace(main=main))  # type: ignore[arg-type]
    monkeypatch.setenv("KEPT", "yes")
    before = dict(os.environ)
    verb = Verb("fake", "nothing", ("", ""), module="fake")
    assert execute(verb, OmegaConf.create({"verb": "fake", "debug": False}), tmp_path) == 0
    assert dict(os.environ) == before

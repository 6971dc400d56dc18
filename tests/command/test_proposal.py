"""What init proposes of a table: where its files are, which columns count, and what is to be checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from medtrain.command.init import Proposal, look_at
from tests.data.tables import write_images


def proposal(table: Path, **keys: str) -> Proposal:
    return look_at(table, OmegaConf.create({"data": {"columns": {}, "root": None, "path_format": None, **keys}}))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table beside a folder in which its pictures lie."""
    (tmp_path / "films").mkdir()
    names = write_images(tmp_path / "films", 12)
    file = tmp_path / "t.csv"
    file.write_text("path,label,patient\n" + "".join(f"{n},{i % 2},p{i}\n" for i, n in enumerate(names)))
    return file


def test_a_root_is_looked_in_and_proposed(table: Path) -> None:
    root = str(table.parent / "films")
    proposed = proposal(table, root=root)
    assert proposed.data["root"] == root and not any("are not under" in doubt for doubt in proposed.doubts)


def test_without_the_root_the_lacking_files_are_counted(table: Path) -> None:
    proposed = proposal(table)
    (doubt,) = [doubt for doubt in proposed.doubts if "are not under" in doubt]
    assert doubt.startswith(f"12 of the first 12 files are not under {table.parent} ") and "data.root" in doubt
    assert "root" not in proposed.data


@pytest.mark.parametrize("column", ["image_id", "ImageID", "Image Index", "image", "filename"])
def test_names_of_the_column_of_pictures(column: str, table: Path) -> None:
    table.write_text(table.read_text().replace("path,", f"{column},", 1))
    proposed = proposal(table, root=str(table.parent / "films"))
    assert proposed.data["columns"]["path"] == column

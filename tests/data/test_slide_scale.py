"""How large the pixels of slides are, as a table says it, a row each."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.data.rows.slide_scale import scales_of
from medtrain.data.slide.embed import Embedder
from medtrain.data.slide.mask_files import Given
from medtrain.data.slide.tiles import Tiling
from medtrain.io.slide import Slide
from medtrain.io.table import Listing
from tests.data.test_ownership import MeanColour
from tests.slide_files import flat_slide, slide_file, stained

COLUMNS = {"mpp": "mpp", "magnification": "objective"}


def scales(mpp: list[str], objective: list[str]) -> tuple[list[float | None] | None, list[int]]:
    where = [f"row {n}" for n in range(len(mpp))]
    raw = Listing.of(Path("t.csv"), {"mpp": mpp, "objective": objective}, where)
    read, bad = scales_of(raw, COLUMNS, where)
    return read, [n for n, _ in bad]


def test_um_and_objectives_are_read_and_what_cannot_be_is_refused() -> None:
    assert scales(["0.25", "", "", "0.23"], ["", "20x", "", "40"]) == ([0.25, 0.5, None, 0.23], [])
    _, bad = scales(["0.25", "x", "0", "250", "-1", "0.5"], ["20", "", "", "", "", "fine"])
    assert bad == [0, 1, 2, 3, 4, 5]


def test_each_slide_is_cut_by_its_own_um(tmp_path: Path) -> None:
    slides = [str(slide_file(tmp_path / f"{name}.tiff", 768, seed)) for seed, name in enumerate("ab")]
    lines: list[str] = []

    def ensure(mpp: list[float | None]) -> list[float]:
        embedder = Embedder(Tiling(px=64, mpp=1.0), MeanColour(), tmp_path / "bags", report=lines.append)
        return [bagged.mpp for bagged in embedder.ensure(slides, given=Given(mpp))]

    usual = Slide(slides[0]).mpp
    assert ensure([None, 1.0]) == pytest.approx([usual, 1.0])
    assert any(line.startswith("1 slides contradict their um/px (b.tiff") for line in lines)
    lines.clear()
    assert ensure([None, 1.0]) == pytest.approx([usual, 1.0])
    assert not any("again" in line for line in lines)
    assert ensure([None, 0.8]) == pytest.approx([usual, 0.8])
    assert any("another um/px than before" in line for line in lines)


@pytest.mark.parametrize(("objective", "told"), [("40", False), ("20", True)])
def test_an_objective_that_contradicts_um_is_told(tmp_path: Path, objective: str, told: bool) -> None:
    about = f"Aperio Image Library v1\r\n512x512 |AppMag = {objective}|MPP = 0.2520"
    file = flat_slide(tmp_path / "s.svs", stained(512)[0], description=about)
    slide = Slide(file)
    assert slide.mpp == pytest.approx(0.252)
    assert ("objective, 20x" in slide.contradicts) == told

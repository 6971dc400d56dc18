"""Feature bags from slides: their content, what is made again and what isn't, and slides that are bad."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import openslide
import pandas as pd
import pytest
import torch

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.slide import readers
from medtrain.data.slide.embed import Embedder
from medtrain.data.slide.readers import Readers
from medtrain.data.slide.tiles import Tiling, survey
from medtrain.encoder import Encoder, descriptor
from medtrain.encoder.base import Preprocessing
from tests.slide_files import break_tile, flat_slide, slide_file

TILING = Tiling(px=64, mpp=1.0)


class Counted(Encoder):
    """The mean colour, and how many tiles were encoded."""

    def __init__(self, random: bool = False) -> None:
        super().__init__(torch.nn.AdaptiveAvgPool2d(1), Preprocessing(), "mean colour", random)
        self.count = 0

    def forward(self, tiles_BHWC: torch.Tensor) -> torch.Tensor:
        self.count = getattr(self, "count", 0) + len(tiles_BHWC)
        return super().forward(tiles_BHWC)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("slides")
    return [str(slide_file(place / f"{name}.tiff", 768, seed)) for seed, name in enumerate("ab")]


def embedder(folder: Path, encoder: Encoder | None = None, tiling: Tiling = TILING, **more: object) -> Embedder:
    return Embedder(tiling, encoder or Counted(), folder, **more)  # type: ignore[arg-type]


def test_a_bag_holds_the_features_of_tiles_at_their_places(slides: list[str], tmp_path: Path) -> None:
    made = embedder(tmp_path).ensure(slides, ["first", "second"])
    assert [(b.slide, b.bag, b.error) for b in made] == [("first", "a.h5", ""), ("second", "b.h5", "")]
    with h5py.File(tmp_path / "a.h5") as file:
        features, coords = file["features"][()], file["coords"][()]
        told = dict(file["coords"].attrs)
    assert (features.dtype, features.shape, coords.dtype.kind) == (np.float16, (made[0].tiles, 3), "i")
    slide = openslide.OpenSlide(slides[0])
    for number in range(0, len(coords), 7):
        x, y = (int(v) for v in coords[number])
        region = np.asarray(slide.read_region((x, y), 0, (128, 128)).convert("RGB"), float) / 255
        assert np.allclose(features[number], region.mean((0, 1)), atol=2e-3)
    assert {name: told[name] for name in ("patch_size", "patch_size_level0", "overlap", "name")} == {
        "patch_size": 64, "patch_size_level0": 128, "overlap": 0, "name": "a"
    }  # fmt: skip
    assert (told["level0_magnification"], told["target_magnification"]) == (20, 10)
    assert (told["level0_width"], told["level0_height"]) == (768, 768)
    table = pd.read_csv(tmp_path / "embed.csv", keep_default_na=False)
    assert table["tiles"].tolist() == [b.tiles for b in made] and table["reader"].tolist() == ["tiff"] * 2
    assert {p.name for p in (tmp_path / "quality").iterdir()} == {"a.png", "a.geojson", "b.png", "b.geojson"}


def test_several_processes_give_the_same(slides: list[str], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    alone = embedder(tmp_path / "0", descriptor()).ensure(slides)
    several = embedder(
        tmp_path / "2", descriptor(), workers=2, batch=8, progress=lambda done, whole: seen.append((done, whole))
    ).ensure(slides)
    assert [b.tiles for b in alone] == [b.tiles for b in several]
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / "0" / name) as one, h5py.File(tmp_path / "2" / name) as two:
            assert np.array_equal(one["coords"][()], two["coords"][()])
            assert np.allclose(one["features"][()], two["features"][()], atol=2e-3)
    total = sum(b.tiles for b in several)
    assert seen[-1] == (total, total)
    assert all(done < whole for done, whole in seen[:-1]) and [d for d, _ in seen] == sorted(d for d, _ in seen)


def test_what_is_there_is_not_made_again(slides: list[str], tmp_path: Path) -> None:
    copies = [str(tmp_path / Path(slide).name) for slide in slides]
    for slide, copy in zip(slides, copies, strict=True):
        Path(copy).write_bytes(Path(slide).read_bytes())
    bags, told = tmp_path / "bags", []
    first = embedder(bags).ensure(copies[:1])
    encoder = Counted()
    both = embedder(bags, encoder, report=told.append).ensure(copies)
    assert encoder.count == both[1].tiles
    assert both[0].tiles == first[0].tiles and not told
    os.utime(copies[0])  # another time, the same content
    Path(copies[1]).write_bytes(Path(slides[0]).read_bytes())
    again = Counted()
    made = embedder(bags, again, report=told.append).ensure(copies)
    assert again.count == made[1].tiles == first[0].tiles
    assert told == ["b.tiff has changed since it was embedded: it is embedded again"]
    Path(copies[0]).unlink()
    assert not embedder(bags).ensure(copies)[0].error  # its bag is there
    assert len(pd.read_csv(bags / "embed.csv")) == 2


def test_bags_of_another_making_are_not_mixed_in(slides: list[str], tmp_path: Path) -> None:
    embedder(tmp_path).ensure(slides[:1])
    with pytest.raises(MedtrainError, match=r"a.h5 was made otherwise: px 64 \(now 32\)\ngive another folder"):
        embedder(tmp_path, tiling=Tiling(px=32, mpp=1.0)).ensure(slides)
    with pytest.raises(MedtrainError, match=r"encoder mean colour \w+ \(now descriptor"):
        embedder(tmp_path, descriptor()).ensure(slides)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["features"] = np.zeros((3, 4))
    with pytest.raises(MedtrainError, match="b.h5 is no bag of medtrain's making"):
        embedder(tmp_path).ensure(slides)


def test_a_bad_slide_is_recorded_and_the_rest_go_on(slides: list[str], tmp_path: Path) -> None:
    blank = flat_slide(
        tmp_path / "blank.tiff", np.full((600, 600, 3), 244, np.uint8), resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
    unknown = flat_slide(tmp_path / "unknown.tiff", np.full((600, 600, 3), 150, np.uint8))
    (tmp_path / "text.svs").write_text("no slide")
    given = [str(blank), slides[0], str(unknown), str(tmp_path / "gone.svs"), str(tmp_path / "text.svs"), slides[1]]
    bags, told = tmp_path / "bags", []
    made = embedder(bags, report=told.append).ensure(given)
    errors = [b.error.split(";")[0] for b in made]
    assert errors == [
        "no tissue was found on it (see its picture)",
        "",
        "the file does not say its um/px",
        "no such file",
        "not a slide that OpenSlide can read",
        "",
    ]
    assert len(told) == 4 and sorted(p.name for p in bags.glob("*.h5")) == ["a.h5", "b.h5"]
    assert (bags / "quality" / "blank.png").is_file()
    assert pd.read_csv(bags / "embed.csv", keep_default_na=False)["error"].ne("").sum() == 4


def test_a_few_bad_tiles_are_left_out_and_many_are_an_error(slides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(Path(slides[0]).read_bytes())
    whole = survey(str(path), Tiling(px=32))
    middle = whole.coords[len(whole.coords) // 2] // 256
    break_tile(path, int(middle[1]) * 3 + int(middle[0]))
    (made,) = embedder(tmp_path / "bags", tiling=Tiling(px=32)).ensure([str(path)])
    assert "tiles cannot be read: level 0 cannot be decoded at" in made.error
    strict = embedder(tmp_path / "bags", tiling=Tiling(px=32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medtrain.data.slide.embed.BAD_TILES", 0.9)
        (made,) = strict.ensure([str(path)])
    broken = (whole.coords // 256 == middle).all(1)
    assert not made.error and (made.bad_tiles, made.tiles) == (64, (~broken).sum())
    with h5py.File(tmp_path / "bags" / "a.h5") as file:
        assert np.array_equal(file["coords"][()], whole.coords[~broken])


def test_random_weights_are_for_phantoms_only(slides: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="features of an untrained network are no features of real slides"):
        embedder(tmp_path, Counted(random=True))
    embedder(tmp_path, Counted(random=True), real=False)


def test_an_interrupted_slide_leaves_no_bag(slides: list[str], tmp_path: Path) -> None:
    class Stopped(Counted):
        def forward(self, tiles_BHWC: torch.Tensor) -> torch.Tensor:
            if getattr(self, "count", 0) > 6:
                raise KeyboardInterrupt
            return super().forward(tiles_BHWC)

    with pytest.raises(KeyboardInterrupt):
        embedder(tmp_path, Stopped(), batch=4).ensure(slides)
    assert not list(tmp_path.glob("*.h5*")) and not list(tmp_path.glob(".*.tmp"))
    assert not any(b.error for b in embedder(tmp_path).ensure(slides))


def test_a_reading_process_that_dies_costs_no_slide(slides: list[str], tmp_path: Path) -> None:
    class Killer(Counted):
        killed = False

        def forward(self, tiles_BHWC: torch.Tensor) -> torch.Tensor:
            if not self.killed and len(tiles_BHWC) == 8:
                Killer.killed = True
                for process in list(held[0].pool._processes.values()):
                    os.kill(process.pid, signal.SIGKILL)
            return super().forward(tiles_BHWC)

    held: list[Readers] = []
    with pytest.MonkeyPatch.context() as patch:
        begin = Readers.__init__
        patch.setattr(Readers, "__init__", lambda self, *a: (held.append(self), begin(self, *a))[1])
        made = embedder(tmp_path, Killer(), workers=1, batch=8).ensure(slides[:1])
    assert Killer.killed and not made[0].error


def test_memory_is_bounded_by_slots(slides: list[str]) -> None:
    with Readers(0, 1024, 64) as few:
        assert few.shape[0] == readers.SLOT // (1024 * 1024 * 3)
    found = survey(slides[0], TILING)
    with Readers(0, 64, 8) as some:
        rows = [read.rows for read in some.tiles(found)]
        assert max(map(len, rows)) == 8
        assert sorted(np.concatenate(rows).tolist()) == list(range(len(found.coords)))


def test_a_stain_that_may_be_ink_is_kept_and_told(tmp_path: Path) -> None:
    pixels = np.full((1024, 1024, 3), 244, np.uint8)
    pixels[128:900, 128:900] = (70, 110, 175)
    pixels[940:1000, :] = (20, 60, 200)
    slide = flat_slide(tmp_path / "m.tiff", pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    told: list[str] = []
    (made,) = embedder(tmp_path / "bags", report=told.append).ensure([str(slide)])
    assert made.tiles and made.pen
    assert [line.split(" (up to")[0] for line in told] == [
        "1 slides: blue ink is no tissue",
        "1 slides: blue may be ink or stain",
    ]
    without = embedder(tmp_path / "named", tiling=Tiling(px=64, mpp=1.0, ink="blue"))
    (gone,) = without.ensure([str(slide)])
    assert "left out were, of the slide, blue ink" in gone.error and "data.ink=false keeps" in gone.error
    assert "data.ink" not in made.error and not embedder(tmp_path / "bags").ensure([str(slide)])[0].error

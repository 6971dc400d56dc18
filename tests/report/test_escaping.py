"""No text of a user becomes markup: hostile names in text, attributes, drawings and the data of the script."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import test_box_report
from fabricate import enrich, films, make_run
from jinja2 import UndefinedError

from medtrain.report import html, write_box_pictures, write_failures, write_report
from medtrain.report.views import PicturesPage

EVIL = """"'><i onload='x'>{{ 7 * 7 }}</script>&amp;"""
TEMPLATES = sorted((Path(html.__file__).parent / "templates").iterdir())


class Elements(HTMLParser):
    """All tags and names of attributes of a page, and the text of its last element of data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.data = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.holds_data = dict(attrs).get("type") == "application/json"

    def handle_data(self, data):
        if getattr(self, "holds_data", False):
            self.data, self.holds_data = data, False


def spoil(folder: Path) -> Path:
    """Put the hostile text wherever a run folder takes text."""
    run, test = (json.loads((folder / name).read_text()) for name in ("run.json", "test_metrics.json"))
    run |= dict.fromkeys(("model", "data", "task", "host", "started", "unit", "git"), EVIL)
    run |= {"excluded": {EVIL: 3}, "versions": {EVIL: EVIL}, "fingerprints": {EVIL: EVIL}}
    test["metrics"][EVIL] = test["metrics"].get("auroc")
    test["groups"] = {EVIL: {EVIL: next(iter(test["groups"]["site"].values()))}} if test.get("groups") else {}
    test["decision"] = {**(test.get("decision") or {}), "policy": EVIL}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "test_metrics.json").write_text(json.dumps(test))
    (folder / "config.yaml").write_text(f"note: {json.dumps(EVIL)}\n")
    splits = pd.read_csv(folder / "splits.csv", dtype=str) if (folder / "splits.csv").is_file() else None
    if splits is not None:
        splits.assign(split=splits["split"].replace("val", EVIL)).to_csv(folder / "splits.csv", index=False)
    return folder


def clean(page: str, plain: str) -> Elements:
    """The page has the tags and attributes of a page without hostile names, and no others."""
    found, wanted = Elements(page), Elements(plain)
    assert "i" not in found.tags and "onload" not in found.attributes
    assert found.tags <= wanted.tags and found.attributes <= wanted.attributes
    assert EVIL not in page and ">49<" not in page
    return found


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_page_of_hostile_names(kind, tmp_path):
    names, plain = ["a", EVIL] if kind == "binary" else ["a", EVIL, "c"], ["a", "b", "c"][: 2 + (kind != "binary")]
    usual = enrich(make_run(tmp_path / "usual", kind, plain, n=80))
    folder = spoil(enrich(make_run(tmp_path / "run", kind, names, n=80)))
    table = pd.read_csv(folder / "failures" / "failures.csv", dtype=str).assign(case=EVIL)
    table.to_csv(folder / "failures" / "failures.csv", index=False)
    found = clean(write_report(folder).read_text(encoding="utf-8"), write_report(usual).read_text(encoding="utf-8"))
    assert EVIL in [curve["name"] for curve in json.loads(found.data)]  # to the script it is the name itself


def test_pictures_of_hostile_names(tmp_path):
    for name in ("usual", "run"):
        (tmp_path / name).mkdir()
        folder = test_box_report.run_folder(tmp_path / name)
        places = {f"{i}<b>.png": [0.64, 0.64, 0, 0] for i in range(4)}
        write_box_pictures(folder, test_box_report.films, places, 12)
    table = pd.read_csv(folder / "pictures" / "pictures.csv", dtype=str)
    table.assign(case=EVIL, why=EVIL, found=EVIL).to_csv(folder / "pictures" / "pictures.csv", index=False)
    clean(
        write_report(folder).read_text(encoding="utf-8"), write_report(tmp_path / "usual").read_text(encoding="utf-8")
    )


def test_the_page_of_explanations():
    page = html.draw(PicturesPage(EVIL, [EVIL], [(EVIL, "a b/ü'\"#?.png")]))
    clean(page, html.draw(PicturesPage("t", ["l"], [("c", "p.png")])))
    assert 'src="a%20b/%C3%BC%27%22%23%3F.png"' in page


def test_a_picture_is_read_from_its_folder_only(tmp_path):
    folder = make_run(tmp_path / "run", "binary", ["0", "1"], n=60)
    write_failures(folder, films, 1)
    (folder / "secret.png").write_bytes((folder / "failures" / "01.png").read_bytes())
    table = pd.read_csv(folder / "failures" / "failures.csv", dtype=str)
    table.assign(picture="../secret.png").to_csv(folder / "failures" / "failures.csv", index=False)
    assert 'id="failures"' not in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_escape_everything_and_quote_every_attribute(template):
    text = template.read_text(encoding="utf-8")
    assert template.name.endswith(".html.j2") and "safe" not in text and "autoescape" not in text
    tags = re.findall(r"<[a-z][^<>]*>", re.sub(r"{%.*?%}", "", text, flags=re.DOTALL))
    assert not [tag for tag in tags if re.search(r'=(?!")', re.sub(r'"[^"]*"', '""', tag))]


def test_a_template_asks_for_nothing_that_its_view_lacks():
    class Broken:
        template = "note.html.j2"

    with pytest.raises(UndefinedError):
        html.draw(Broken())

"""The page in a real browser: no request leaves it, the explorer tells the truth, and nothing overflows.

Needs Chromium (Debian's package `chromium`); without one these tests are skipped.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from fabricate import enrich, make_run
from sklearn.metrics import confusion_matrix

from medtrain.report import write_report
from tests import chromium

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here (apt install chromium)")

CLASSES = ["Atelectasis", "<b>Effusion</b>", "Pleural thickening and other findings with a long name"]


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("b") / "run é #1", "binary", ["normal", "pneumonia"], n=300))


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """A multilabel run with everything that a page can hold."""
    return write_report(enrich(make_run(tmp_path_factory.mktemp("m") / "run", "multilabel", CLASSES, n=200)))


def shown(browser, *names):
    return [browser.run(f"document.getElementById('x-{name}').textContent") for name in names]


def slide(browser, to):
    browser.run(f"(() => {{ const s = document.getElementById('x-slider'); s.value = {to}; "
                "s.dispatchEvent(new Event('input')); return s.value; })()")  # fmt: skip


def test_it_opens_from_disk_and_asks_for_nothing(browser, rich):
    browser.asked.clear()
    browser.faults.clear()
    browser.open(rich)
    assert [address for address in browser.asked if not address.startswith("data:")] == [rich.resolve().as_uri()]
    assert not browser.faults
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt.length > 5)")
    assert browser.run("document.querySelectorAll('b').length > 0 && !document.title.includes('<')")


def test_the_policy_stops_other_scripts_and_addresses(browser, binary, tmp_path):
    html = binary.read_text(encoding="utf-8")
    evil = '<script>window.pwned = 1</script><img src="https://example.invalid/x.png">'
    (tmp_path / "evil.html").write_text(html.replace("</main>", f"{evil}</main>"), encoding="utf-8")
    browser.open(tmp_path / "evil.html")
    assert browser.run("window.pwned === undefined")
    assert shown(browser, "sensitivity")[0] != ""  # ours still runs
    assert sum("Content Security Policy" in fault for fault in browser.faults) >= 2


def test_the_explorer_equals_scikit_learn(browser, binary):
    table = pd.read_csv(binary.parent / "test_predictions.csv")
    truth, prob = (table["target"] == "pneumonia").to_numpy(), table["prob_pneumonia"].to_numpy()
    browser.open(binary)
    said = (table["prediction"] == "pneumonia").to_numpy()
    tn, fp, fn, tp = confusion_matrix(truth, said).ravel()
    assert shown(browser, "tp", "fp", "fn", "tn") == [str(n) for n in (tp, fp, fn, tn)]  # it starts at the decision
    assert "the run's decision" in shown(browser, "threshold")[0]
    last = int(browser.run("document.getElementById('x-slider').max"))
    for i in (0, last // 3, last - 1):
        slide(browser, i)
        t = float(shown(browser, "threshold")[0].split()[0])
        tn, fp, fn, tp = confusion_matrix(truth, prob >= t).ravel()
        assert shown(browser, "tp", "fp", "fn", "tn") == [str(n) for n in (tp, fp, fn, tn)]
        values = [tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn) if tn + fn else np.nan]
        for name, value in zip(("sensitivity", "specificity", "ppv", "npv"), values, strict=True):
            text, interval = shown(browser, name, f"{name}-ci")
            if np.isnan(value):
                assert text == interval == "n/a"
                continue
            assert float(text) == pytest.approx(value, abs=6e-4)
            if value in (0, 1) and interval == "n/a":  # from too few patients at the end of its range
                continue
            low, high = map(float, interval.split(" to "))
            assert low - 1e-3 <= value <= high + 1e-3


def test_prevalence_by_bayes_and_back_to_the_start(browser, binary):
    browser.open(binary)
    start = shown(browser, "threshold", "ppv", "npv")
    slide(browser, 30)
    browser.run("(() => { const p = document.getElementById('x-prevalence'); p.value = '1'; "
                "p.dispatchEvent(new Event('input')); })()")  # fmt: skip
    tp, fp, fn, tn = (int(text) for text in shown(browser, "tp", "fp", "fn", "tn"))
    se, sp, p = tp / (tp + fn), tn / (tn + fp), 0.01
    ppv, npv = map(float, shown(browser, "ppv", "npv"))
    assert ppv == pytest.approx(se * p / (se * p + (1 - sp) * (1 - p)), abs=6e-4)
    assert npv == pytest.approx(sp * (1 - p) / (sp * (1 - p) + (1 - se) * p), abs=6e-4)
    assert "Of 1,000 such cases 10 are positive" in shown(browser, "words")[0]
    browser.run("document.getElementById('x-reset').click()")
    assert shown(browser, "threshold", "ppv", "npv") == start


def test_the_explorer_by_keyboard(browser, binary):
    browser.open(binary)
    before = int(browser.run("document.getElementById('x-slider').value"))
    browser.run("document.getElementById('x-slider').focus()")
    browser.press("ArrowRight", 39)
    assert int(browser.run("document.getElementById('x-slider').value")) == before + 1
    assert "decision" not in shown(browser, "threshold")[0]
    spoken = browser.run("document.getElementById('x-slider').getAttribute('aria-valuetext')")
    assert spoken == shown(browser, "threshold")[0]


def test_another_class(browser, rich):
    table = pd.read_csv(rich.parent / "test_predictions.csv")
    browser.open(rich)
    assert browser.run("[...document.getElementById('x-class').options].map(o => o.text)") == CLASSES
    browser.run("(() => { const c = document.getElementById('x-class'); c.value = 1; "
                "c.dispatchEvent(new Event('change')); })()")  # fmt: skip
    known = table[table[f"target_{CLASSES[1]}"].notna()]
    tn, fp, fn, tp = confusion_matrix(known[f"target_{CLASSES[1]}"], known[f"prediction_{CLASSES[1]}"]).ravel()
    assert shown(browser, "tp", "fp", "fn", "tn") == [str(n) for n in (tp, fp, fn, tn)]


@pytest.mark.parametrize(("width", "dark", "media"), [(400, False, ""), (1400, True, ""), (718, False, "print")])
def test_nothing_overflows(browser, rich, width, dark, media):
    browser.open(rich, width=width, dark=dark, media=media)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= width
    outside = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre, .unseen, svg') && "
    outside += "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    assert browser.run(outside) == []


def luminance(text):
    rgb = [int(part) / 255 for part in re.findall(r"\d+", text)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser, rich, dark):
    """WCAG 2.2, 1.4.3: 4.5 to 1, measured on what the browser computes."""
    browser.open(rich, dark=dark)
    assert (luminance(browser.run("getComputedStyle(document.body).backgroundColor")) < 0.1) == dark
    pairs = browser.run("""[...document.querySelectorAll('p, th, td, a, b, dt, dd, figcaption, summary, label, button')]
      .filter(e => e.offsetParent && e.textContent.trim()).map(e => {
        let back = e;
        while (back && getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)') back = back.parentElement;
        return [getComputedStyle(e).color, getComputedStyle(back || document.body).backgroundColor];
      })""")
    assert len(pairs) > 200
    for ink, paper in {tuple(pair) for pair in pairs}:
        light, deep = sorted([luminance(ink), luminance(paper)], reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5, (ink, paper)


def test_on_paper_the_table_at_the_decision_stands_for_the_explorer(browser, rich, tmp_path):
    visible = "e => getComputedStyle(document.querySelector(e)).display !== 'none'"
    browser.open(rich)
    assert browser.run(f"['.panel', '.at-decision', 'nav'].map({visible})") == [True, False, True]
    browser.open(rich, width=718, media="print")
    assert browser.run(f"['.panel', '.at-decision', 'nav'].map({visible})") == [False, True, False]
    assert browser.run("document.querySelectorAll('.at-decision tbody tr').length") == 3
    assert browser.run("getComputedStyle(document.querySelector('.plot img')).filter") == "none"
    assert browser.pdf(tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")

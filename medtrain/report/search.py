"""tune.html: what a search tried, what its best configuration is, and what that is worth; in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.io.files import atomic_path, write_text
from medtrain.report import search_plots as plots
from medtrain.report.figures import Plot
from medtrain.report.html import View, data_uri, draw
from medtrain.report.page import Page
from medtrain.report.views import Cell, Gallery, Listing, Note, Section, part, table, texts
from medtrain.report.words import ABSENT, count, headline, label, number, with_interval

FILE, PLOTS = "tune.html", "plots"
STATES = {"finished": "finished", "pruned": "pruned", "failed": "failed", "running": "not ended"}

Facts = Mapping[str, Any]


def write_page(folder: Path, facts: Facts) -> Path:
    """Write the page of a search into its folder, from what search.json holds; returns the path."""
    page = folder / FILE
    write_text(page, draw(page_of(folder, facts)))
    return page


def page_of(folder: Path, facts: Facts) -> Page:
    """Put the page together."""
    made = [bought(facts), front(facts), figures(folder, facts), configuration(facts), all_trials(facts), judged(facts)]
    return Page(
        title=f"Search {folder.name}",
        summary=summary(facts),
        kicker=f"{facts['sampler']}, pruner {facts['pruner']}, seed {facts['seed']}",
        synthetic=False,
        stopped="",
        warnings=warnings(facts),
        tiles=tiles(facts),
        sections=[section for section in made if section is not None],
    )


def name_of(objective: Sequence[str]) -> str:
    """Write an objective's name in words."""
    return label(objective[0].removeprefix("val_"))


def summary(facts: Facts) -> str:
    """Say in a sentence or two what the search bought."""
    best, test = facts["best"], facts["test"]
    tried = count(sum(facts["counts"].values()), "trial")
    if best is None:
        many = len(facts["front"])
        return f"{tried}; {many} of them are beaten by none in all objectives." if many else f"{tried}; none has ended."
    name, value = name_of(facts["objectives"][0]), best["corrected"]["value"]
    text = f"The best of {best['of']} configurations reaches {name} {number(best['value'])} on validation"
    text += f", {number(value)} after correction for being the best." if value is not None else "."
    if test and (metric := headline(test["metrics"])):
        shown, interval = with_interval(test["metrics"][metric])
        text += f" Tested once, and it alone: {label(metric)} {shown}{f' ({interval})' * bool(interval)}."
    return text


def warnings(facts: Facts) -> list[str]:
    """List what makes the numbers mean less."""
    listed, best, test = [], facts["best"], facts["test"]
    if (tried := sum(facts["counts"].values())) < facts["wanted"]:
        listed.append(f"The search came to {tried} of the {facts['wanted']} trials that were wanted.")
    if best is not None and best["name"] == "default":
        listed.append("No trial was better than the configuration without what was searched: keep the default.")
    if best is not None and best["corrected"]["value"] is None:
        listed.append(f"The best validation score is not corrected: {best['corrected']['reason']}.")
    if test and test["tests_of_search"] > 1:
        times = test["tests_of_search"]
        listed.append(f"The test split was looked at {times} times in this search: the best of these is too good.")
    return listed


def tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """List (name, value, remark) of the numbers to see first."""
    best, test, default = facts["best"], facts["test"], facts["default"]["values"]
    if best is None:
        return []
    name = name_of(facts["objectives"][0])
    shown = [(f"Validation {name}, best", number(best["value"]), f"of {best['of']}")]
    if best["corrected"]["value"] is not None:
        shown.append((f"Validation {name}, corrected", number(best["corrected"]["value"]), "for being the best"))
    if default:
        shown.append((f"Validation {name}, default", number(default[0]), "same seed and split"))
    if test and (metric := headline(test["metrics"])):
        shown.append((f"Test {label(metric)}, best", *with_interval(test["metrics"][metric])))
    return shown


def bought(facts: Facts) -> Section | None:
    """Set the best beside the default."""
    best, default, test = facts["best"], facts["default"], facts["test"]
    if best is None:
        return None
    name = name_of(facts["objectives"][0])
    value = default["values"][0] if default["values"] else None
    gain = None if value is None else best["value"] - value
    rows = [
        ("Default, the same seed and split", [Cell(number(value) if value is not None else default["reason"])]),
        (f"Best ({best['name']})", [Cell(number(best["value"]))]),
        ("Best minus default", [Cell(ABSENT if gain is None else f"{gain:+.3f}")]),
        ("Best, corrected for being the best", [Cell(number(best["corrected"]["value"]))]),
    ]
    views: list[View | None] = [table(["", f"Validation {name}"], rows, "metrics", "What the search bought")]
    if test:
        own = [(label(key), [Cell(*with_interval(entry))]) for key, entry in test["metrics"].items()]
        cases = f"{count(test['n_cases'], 'case')} of {count(test['n_patients'], 'patient')}"
        heading = f"The best on the test split, {cases}: chosen without it, from {best['of']} configurations"
        views.append(table(["", "Test"], own, "metrics", "Test of the best", heading=heading))
    return part("bought", "What it bought", *views)


def front(facts: Facts) -> Section | None:
    """List the trials that are beaten by none in all objectives."""
    if not facts["front"]:
        return None
    header = ["Trial", *(f"{name_of(o)} ({o[1]})" for o in facts["objectives"]), "Configuration"]
    known = {trial["number"]: trial for trial in facts["trials"]}
    rows = [
        (str(n), [*(Cell(number(value)) for value in known[n]["values"]), *texts(_words(known[n]["params"]))])
        for n in facts["front"]
    ]
    note = Note("Each is better than every other in something. None was tested: choose one, and test it alone.")
    return part("front", "Pareto front", note, table(header, rows, "names", "The Pareto front"))


def figures(folder: Path, facts: Facts) -> Section | None:
    """Draw the figures into plots/ and show them."""
    shown = []
    (folder / PLOTS).mkdir(exist_ok=True)
    for name, (heading, text, figure) in plots.all_of(facts).items():
        file = folder / PLOTS / f"{name}.png"
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
        shown.append(Plot(data_uri(file), f"{heading}: {text}", heading, text))
    reason = facts["importance"]["reason"]
    note = Note(f"Importance is not shown: {reason}.") if reason else None
    return part("figures", "Figures", note, Gallery("figures.html.j2", tuple(shown)) if shown else None)


def configuration(facts: Facts) -> Section | None:
    """Show the best configuration as an experiment file."""
    if facts["best"] is None:
        return None
    text = "The file best.yaml in the folder of the search. In medtrain_configs/experiment, experiment=best trains it."
    return part("best", "Best configuration", Note(text), Listing(facts["best"]["experiment"]))


def all_trials(facts: Facts) -> Section | None:
    """Tabulate all trials."""
    header = ["Trial", *(name_of(o) for o in facts["objectives"]), "State", "Epochs", "Configuration", "Why"]
    rows = []
    for trial in facts["trials"]:
        values = [number(value) for value in trial["values"]] or [ABSENT] * len(facts["objectives"])
        epochs = str(max(map(int, trial["epochs"]), default="")) if trial["epochs"] else ""
        words = texts(STATES[trial["state"]], epochs, _words(trial["params"]), trial["reason"])
        rows.append((str(trial["number"]), [*map(Cell, values), *words]))
    return part("trials", "Trials", table(header, rows, "names", "All trials"), folded=True, link="")


def judged(facts: Facts) -> Section | None:
    """Say how trials were judged, and what was done about the optimism of the best."""
    lines = ["Trials are judged on validation; no file of the test split is opened before the best is tested."]
    if facts["inner_folds"]:
        lines.append(f"A trial is the mean over {facts['inner_folds']} inner folds, each of which validates once.")
    best = facts["best"]
    if best is not None and best["corrected"]["value"] is not None:
        right = best["corrected"]
        lines.append(
            f"Correction: {right['method']}; {right['replicates']} samples of {count(right['patients'], 'patient')}. "
            "Within a run the epoch was chosen on validation too, which is not corrected for."
        )
    return part("judged", "How trials were judged", *map(Note, lines), link="")


def _words(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={number(value) if isinstance(value, float) else value}" for key, value in params.items())

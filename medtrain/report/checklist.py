"""The checklist of what a paper on this run must report, filled in where the run folder knows it.

Items are those of CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024;6:e240300) and TRIPOD+AI
(Collins et al., BMJ 2024;385:e078378), by number; their names here are our own short ones. An answer comes from the
run's files only (`checklist_facts`): what a tool can't know is the author's to fill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from medtrain.report.checklist_facts import Facts
from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table, texts

TO_FILL = "author to fill"


class Item(NamedTuple):
    """A thing to report: the numbers it has in both lists, who answers it, and what that answer lacks of the item."""

    name: str
    claim: str
    tripod: str
    answer: Callable[[Facts], str | None] | None = None
    lacks: str = ""


ITEMS = (
    Item("Title names the method", "1", "1"),
    Item("Structured abstract", "2", "2"),
    Item("Clinical background and role", "3", "3a, 3b"),
    Item("Known inequalities between groups", "", "3c"),
    Item("Aims", "4", "4"),
    Item("Prospective or retrospective", "5", ""),
    Item("Goal of the study", "6", ""),
    Item("Where the data come from", "7", "5a", Facts.data),
    Item("Dates of the data", "", "5b"),
    Item("Setting and centres", "", "6a"),
    Item("Who was eligible", "8", "6b", Facts.excluded, "the criteria; this is what was left out of the given data"),
    Item("Treatments received", "", "6c"),
    Item("Preparation of the images", "9", "", Facts.preparation),
    Item(
        "Preparation of the data and checks of quality",
        "",
        "7",
        Facts.preparation,
        "checks, and if alike in all groups",
    ),
    Item("Selection within the data", "10", "", lambda facts: facts.keys("data.filter")),
    Item("De-identification", "11", ""),
    Item("Missing data", "12", "11", Facts.missing, "why data are missing, and were left out"),
    Item("Acquisition of the images", "13", ""),
    Item("Reference standard", "14", ""),
    Item("Outcome: definition, time, assessment", "", "8a"),
    Item("Why this reference standard", "15", ""),
    Item("Who annotated, and how qualified", "16", "8b"),
    Item("Annotation of the test set, blinding", "17", "8c"),
    Item("Agreement of the annotators", "18", ""),
    Item("Choice of predictors", "", "9a", Facts.chosen_predictors, "how they were chosen"),
    Item("Definition of predictors, when and how measured", "", "9b"),
    Item("Who assessed predictors", "", "9c"),
    Item("Partitions: how assigned, and their sizes", "19", "12a", Facts.partitions),
    Item("Level at which partitions are disjoint", "20", "", Facts.disjoint),
    Item("Sample size, and why", "21", "10"),
    Item("The model: inputs, layers, outputs", "22", "", Facts.model, "the layers, or where they are described"),
    Item("Handling of predictors", "", "12b", Facts.predictors),
    Item("Type of model, steps of building, internal validation", "", "12c", Facts.building, "why this type of model"),
    Item("Software", "23", "", Facts.software),
    Item("Initial weights", "24", "", Facts.start),
    Item(
        "Training: augmentation, hyperparameters",
        "25",
        "",
        Facts.training,
        "how many models were trained, and how these values were chosen",
    ),
    Item("Choice of the final model", "26", "", Facts.chosen),
    Item("Ensembles", "27", "", Facts.ensemble),
    Item("Differences between clusters: how handled", "", "12d", Facts.clusters),
    Item("Metrics of performance", "28", "", Facts.metrics),
    Item("Measures and plots of performance, and why", "", "12e", Facts.measures, "why these"),
    Item("Uncertainty and significance", "29", "", Facts.intervals),
    Item("Robustness", "30", ""),
    Item("Explanations of predictions", "31", ""),
    Item("Updating of the model", "", "12f"),
    Item("How test predictions were calculated", "", "12g", Facts.calculated),
    Item("Unequal classes: what was done, and why", "", "13", Facts.balance, "why"),
    Item("Fairness: what was done for it, and why", "", "14", Facts.groups, "what was done beyond looking"),
    Item("The output, and its thresholds", "", "15", Facts.output, "why these thresholds"),
    Item("Internal test", "32", "", Facts.internal),
    Item("External test", "33", "", Facts.elsewhere),
    Item("How the data of training and test differ", "", "16"),
    Item("Trial registration", "34", "18d"),
    Item("Ethical approval", "", "17"),
    Item("Flow of participants", "35", "20a", Facts.flow, "the flow into the given data"),
    Item("Characteristics in each partition", "36", "20b"),
    Item("Distribution of predictors in training and test", "", "20c"),
    Item("Cases and events in each analysis", "", "21", Facts.events),
    Item("The full model", "", "22", Facts.full_model, "who may have and use it"),
    Item(
        "Performance in each partition", "37", "", Facts.results, "that in training and validation, where it is wanted"
    ),
    Item("Performance with its uncertainty", "38", "23a", Facts.results),
    Item("Performance by cluster", "", "23b", Facts.clusters),
    Item("Results of updating", "", "24"),
    Item("Failure analysis", "39", "", Facts.failures, "what the mistakes have in common"),
    Item("Limitations", "40", "26"),
    Item("Interpretation and implications", "41", "25"),
    Item("Poor or missing inputs in use", "", "27a"),
    Item("Users, and their skill", "", "27b"),
    Item("Next steps", "", "27c"),
    Item("Protocol", "42", "18c"),
    Item("Availability of data", "43", "18e"),
    Item("Availability of code and model", "43", "18f"),
    Item("Funding, and the role of the funders", "44", "18a"),
    Item("Conflicts of interest", "", "18b"),
    Item("Patients and public involved", "", "19"),
)


def answers(run: RunFolder) -> list[tuple[Item, str | None]]:
    """Pair each item with what the run folder knows of it; all of it only where nothing `lacks`."""
    known = Facts(run)
    return [(item, item.answer(known) if item.answer else None) for item in ITEMS]


def filled(item: Item, answer: str | None) -> bool:
    """Tell whether the run answers the whole item."""
    return answer is not None and not item.lacks


@section()
def checklist(run: RunFolder) -> Section | None:
    """Draw the list, as a part of the page that opens on demand."""
    listed = answers(run)
    rows = [(item.name, [*texts(item.claim, item.tripod), _cell(item, answer)]) for item, answer in listed]
    whole, partly = sum(filled(*pair) for pair in listed), sum(bool(pair[1]) for pair in listed)
    text = (
        "Item numbers of CLAIM 2024 (imaging AI) and TRIPOD+AI (prediction models), with our own short names; the "
        "lists themselves say what each asks for. An answer here comes from the run's files. Where it is a part of "
        f"the item only, the rest is named, and the item isn't counted as filled ({partly - whole} of these)."
    )
    items = table(["Item", "CLAIM", "TRIPOD+AI", "What the run knows"], rows, "check", "Reporting checklist")
    heading = f"Reporting checklist: {whole} of {len(listed)} items filled"
    return part("checklist", heading, Note(text), items, link="Checklist", folded=True)


def _cell(item: Item, answer: str | None) -> Cell:
    below = f"{TO_FILL}: {item.lacks}" if answer and item.lacks else ""
    return Cell(answer or TO_FILL, below, number=False, missing=not answer)

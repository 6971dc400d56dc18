"""Cases of a run met again, by content and by what their patients are called."""

from __future__ import annotations

import pandas as pd
import pytest

from medtrain.data.changes import in_words
from medtrain.data.fingerprint import label_digests
from medtrain.data.used import meet, recognised

RUN = pd.DataFrame(
    {
        "case": ["a", "b", "c", "d"],
        "patient": ["1", "2", "3", "4"],
        "split": ["train", "val", "test", "test"],
        "content": ["p1:a", "p1:b", "p1:c", "p1:d"],
    }
)


def cases(*rows: tuple[str, str, str], **more: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["case", "patient", "content"]).assign(**more)


def test_content_is_a_leak_and_a_name_is_none() -> None:
    met = meet(cases(("x", "9", "p1:a"), ("y", "1", "p1:y"), ("c", "8", "p1:c"), ("b", "7", "p1:z")), RUN)
    assert met.content_N.tolist() == [True, False, False, False]
    assert met.namesake_N.tolist() == [False, True, False, False] and not met.patient_N.any()
    assert not met.unknown_N.any()  # 'b' is another case of that name


def test_names_count_where_a_common_case_bears_the_same() -> None:
    met = meet(cases(("c", "3", "p1:c"), ("y", "1", "p1:y")), RUN)
    assert met.patient_N.tolist() == [False, True] and not met.namesake_N.any()


def test_names_count_at_the_same_site() -> None:
    run = RUN.assign(site=["north", "north", "south", "south"])
    met = meet(cases(("x", "1", "p1:x"), ("y", "2", "p1:y"), ("z", "1", "p1:z"), site=["north", "south", ""]), run)
    assert met.patient_N.tolist() == [True, False, False] and met.namesake_N.tolist() == [False, True, True]


def test_a_case_that_is_its_own_patient_has_no_name() -> None:
    met = meet(cases(("1", "1", "p1:x")), RUN)
    assert not met.namesake_N.any() and not met.patient_N.any()


def test_a_run_of_01_knows_names_only() -> None:
    met = meet(cases(("a", "1", "p1:a"), ("c", "3", "p1:c")), RUN.drop(columns="content"))
    assert met.unknown_N.tolist() == [True, False] and not met.content_N.any()


def test_all_of_a_runs_cases_and_no_others_are_its_own() -> None:
    here = [("w", "", "p1:d"), ("x", "", "p1:c"), ("y", "", "p1:b"), ("z", "", "p1:a")]
    found = recognised(cases(*here), RUN, 0)
    assert found is not None and found["case"].tolist() == ["z", "y", "x", "w"] and found["split"].equals(RUN["split"])
    more = cases(*here, ("v", "", "p1:v"))
    assert recognised(more, RUN, 0) is None and recognised(cases(*here[:3]), RUN, 0) is None
    assert recognised(more, RUN, 1) is not None  # a case that leaked, which the run has left out too
    assert recognised(cases(*here), RUN.drop(columns="content"), 0) is None


def test_equal_contents_keep_their_names() -> None:
    run = RUN.assign(content=["p1:a", "p1:a", "p1:a", "p1:d"])
    here = cases(("new", "", "p1:a"), ("c", "", "p1:a"), ("a", "", "p1:a"), ("d", "", "p1:d"))
    found = recognised(here, run, 0)
    assert found is not None and found["case"].tolist() == ["a", "new", "c", "d"]


def test_digests_of_labels() -> None:
    assert label_digests(["[1]", "[0]", "[1]"])[0] == label_digests(["[1]"])[0] != label_digests(["[0]"])[0]
    assert in_words([]) == "" and label_digests([]) == []


@pytest.mark.parametrize("renamed", [True, False])
def test_patients_are_compared_as_groups(renamed: bool) -> None:
    """A header's pseudonym depends on the person's key: other names of the same groups are no change."""
    from medtrain.data.changes import changes

    class Stub:
        def split_table(self) -> pd.DataFrame:
            patients = ["x", "y", "z", "w"] if renamed else ["1", "1", "3", "4"]
            return RUN.assign(patient=patients, fold="", labels="same")

    found = changes(Stub(), RUN.assign(fold="", labels="same"), None)  # type: ignore[arg-type]
    assert in_words(found) == ("" if renamed else "the patients of 1 cases")

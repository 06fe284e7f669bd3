"""Findings as sentences, as a list and as a count."""

from __future__ import annotations

from trainer.job.errors import UsageError
from trainer.job.findings import Finding, counted, errors_of, listed

WRONG = Finding("error", "scheduling.timeout", "7200 is no duration", 'write "7200s"')
ASKED = Finding("error", "studySpec.algorithm", '"GRID" is unknown', "did you mean GRID_SEARCH?")
TOLD = Finding("warning", "scheduling.timeout", "is not set", "set it")


def test_a_finding_is_a_sentence_with_place_problem_and_remedy() -> None:
    assert str(WRONG) == 'error: scheduling.timeout: 7200 is no duration; write "7200s".'
    assert str(ASKED) == 'error: studySpec.algorithm: "GRID" is unknown; did you mean GRID_SEARCH?'


def test_an_errors_sentence_has_its_remedy_in_it() -> None:
    finding = Finding.of_error("args", UsageError("unknown flag --epohcs=4: did you mean --epochs?"))
    assert str(finding) == "error: args: unknown flag --epohcs=4: did you mean --epochs?"
    assert str(Finding.of_error("args", UsageError("no."))) == "error: args: no."


def test_errors_and_warnings_are_listed_apart_in_their_order() -> None:
    assert listed([]) == []
    assert listed([TOLD, ASKED, WRONG]) == [
        "errors:",
        f"  {ASKED.said}",
        f"  {WRONG.said}",
        "warnings:",
        "  scheduling.timeout: is not set; set it.",
    ]
    assert errors_of([TOLD, ASKED, WRONG]) == [ASKED, WRONG]


def test_counts_are_words() -> None:
    assert counted([]) == "no errors, no warnings"
    assert counted([WRONG, TOLD]) == "1 error, 1 warning"
    assert counted([WRONG, ASKED, TOLD, TOLD]) == "2 errors, 2 warnings"

"""The rules of studies by a table: counts, metrics, and what Vertex AI's tuning jobs do not support."""

from __future__ import annotations

import pytest

from tests.cloud.rules_lab import PARAMETERS, STUDY, Change, changed, check, drop, model_parameters, put

BROKEN_STUDIES = [
    pytest.param(drop("studySpec"), "studySpec", "is missing: it says what to tune", id="no studySpec"),
    pytest.param(
        drop("trialJobSpec"), "trialJobSpec", "is missing: it says what a trial runs on", id="no trialJobSpec"
    ),
    pytest.param(drop("maxTrialCount"), "maxTrialCount", "add maxTrialCount: 20", id="no count of trials"),
    pytest.param(put("maxTrialCount", to=0), "maxTrialCount", "0, where at least 1 is needed", id="no trials"),
    pytest.param(drop("parallelTrialCount"), "parallelTrialCount", "is missing", id="no parallel trials"),
    pytest.param(put("parallelTrialCount", to=30), "parallelTrialCount", "30 trials at once, of 20 in all", id="more"),
    pytest.param(put("maxFailedTrialCount", to=-1), "maxFailedTrialCount", "-1 is below 0", id="below no failures"),
    pytest.param(put("labels", to={"Team": "a"}), "labels.Team", "write it as team", id="a label's name"),
    pytest.param(put("labels", to={"team": 7}), "labels.team", 'write "7"', id="a label's value is a number"),
    pytest.param(drop("studySpec", "metrics"), "studySpec.metrics", "is missing", id="no metrics"),
    pytest.param(
        drop("studySpec", "metrics", 0, "goal"), "studySpec.metrics[0].goal", "add goal: MAXIMIZE", id="no goal"
    ),
    pytest.param(
        put("studySpec", "metrics", 0, "goal", to="maximise"),
        "studySpec.metrics[0].goal",
        "did you mean MAXIMIZE",
        id="a goal misspelled",
    ),
    pytest.param(
        drop("studySpec", "metrics", 0, "metricId"), "studySpec.metrics[0].metricId", "such as loss", id="no metricId"
    ),
    pytest.param(
        put("studySpec", "metrics", 0, "metricId", to="accurracy"),
        "studySpec.metrics[0].metricId",
        "the model reports no accurracy; did you mean accuracy?",
        id="a metric that is not reported",
    ),
    pytest.param(
        put("studySpec", "metrics", 0, "metricId", to="training/hptuning/metric"),
        "studySpec.metrics[0].metricId",
        "it reports accuracy, loss",
        id="AI Platform's default metric",
    ),
    *(
        pytest.param(
            put("studySpec", "metrics", 0, "metricId", to=name),
            "studySpec.metrics[0].metricId",
            f"{name} is a name that cloudml-hypertune keeps for itself",
            id=f"reserved: {name}",
        )
        for name in ("global_step", "trial", "timestamp")
    ),
    pytest.param(
        put("studySpec", "observationNoise", to="HIGH"), "studySpec.observationNoise", "do not support it", id="noise"
    ),
    pytest.param(
        put("studySpec", "algorithm", to="GRID"), "studySpec.algorithm", "did you mean GRID_SEARCH?", id="algorithm"
    ),
    pytest.param(
        put("studySpec", "decayCurveStoppingSpec", to={}), "studySpec", "exclude each other", id="two ways of stopping"
    ),
    pytest.param(
        put("studySpec", "algorithm", to="GRID_SEARCH"),
        f"{PARAMETERS}[0].doubleValueSpec",
        "GRID_SEARCH has no grid of a doubleValueSpec; list its values in a discreteValueSpec.",
        id="a grid of doubles",
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), BROKEN_STUDIES)
def test_a_broken_study(change: Change, where: str, words: str) -> None:
    found = [each for each in check(changed(STUDY, change), model_parameters()) if each.level == "error"]
    assert [each.said for each in found if each.where == where and words in each.said], found


STUDY_WARNINGS = [
    pytest.param(
        put("studySpec", "metrics", 0, "goal", to="MINIMIZE"),
        "studySpec.metrics[0].goal",
        "MINIMIZE looks for the worst accuracy; write goal: MAXIMIZE.",
        id="the wrong way round",
    ),
    pytest.param(
        put("studySpec", "metrics", to=[{"metricId": name, "goal": "MAXIMIZE"} for name in ("accuracy", "accuracy")]),
        "studySpec.metrics",
        "2 metrics, and with more than one no trial is the best",
        id="two metrics",
    ),
    pytest.param(
        put("studySpec", "parameters", 3, "scaleType", to="UNIT_LINEAR_SCALE"),
        f"{PARAMETERS}[3].scaleType",
        "categories have no scale; leave it out.",
        id="a scale of categories",
    ),
    pytest.param(
        drop("trialJobSpec", "scheduling"), "trialJobSpec.scheduling.timeout", "a trial that hangs", id="time"
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), STUDY_WARNINGS)
def test_a_study_that_goes_but_with_a_warning(change: Change, where: str, words: str) -> None:
    [found] = check(changed(STUDY, change), model_parameters())
    assert (found.level, found.where) == ("warning", where)
    assert words in found.said

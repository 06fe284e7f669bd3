"""Every row of the conversion's table: what the plain recipe does to a model that shows it, and what the job does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conversion_results import result_of

pytestmark = pytest.mark.xdist_group("conversion")
ROOT = Path(__file__).parents[2]


# What the plain recipe does with the case: "fails"; trains to other "weights"; reports another "evaluation"; or the
# "same" as fit (where fit itself is not what the user meant, or only speed differs).
DETOURS = {
    "non_trainable_weights": "weights",
    "weight_decay": "weights",
    "epsilon_and_sparse": "weights",
    "epsilon_of_rmsprop": "weights",
    "equality": "weights",
    "training_argument": "weights",
    "label_rank": "weights",
    "new_optimizers": "fails",
    "unused_weights": "fails",
    "custom_schedule": "fails",
    "custom_names": "fails",
    "weighted_metrics": "evaluation",
    "weighted_metrics_alone": "evaluation",
    "accuracy_word": "evaluation",
}
REFUSALS = {
    "averaged_weights": "weights",
    "nadam": "weights",
    "train_step": "weights",
    "test_step": "evaluation",
    "subclassed_weights": "weights",
    "assignments": "weights",
    "outside_losses": "weights",
    "shared_statistics": "weights",
    "changed_layers": "weights",
    "adapted_discretization": "weights",
    "stateful": "evaluation",
}
WARNINGS = {
    "ignored_rate": "same",
    "trained_optimizer": "weights",
    "compile_switches": "same",
    "added_metrics": "evaluation",
    "output_losses": "evaluation",
    "changed_metrics": "evaluation",
    "structured_outputs": "fails",
}
IMPOSSIBLE = (
    "scaled_optimizer",
    "text_vectorization",
    "adapted_lookups",
    "unpadded_lookups",
    "unreduced_loss",
    "sequential_additions",
    "unbuildable_layers",
    "dynamic_layers",
    "keyed_losses",
)
# Rows of which these cases are a second one.
SECOND_CASES = {"epsilon_of_rmsprop": "epsilon_and_sparse", "weighted_metrics_alone": "weighted_metrics"}
# Rows that a single training does not show: test_converter.py, or the tests of the part that the row names.
ELSEWHERE = {
    "checkpoint_limit",
    "extra_step",
    "other_width",
    "batch_norm_strategy",
    "object_format_refusals",
    "stable_names",
    "stale_first_weights",
    "renamed_metrics",
    "numbered_heads",
    "renamed_heads",
    "fit_arguments",
    "unusable_metrics",
    "empty_data",
    "invalid_models",
    "no_load_model",
}


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    code = (
        "import json; from trainer.training.conversion import TABLE; "
        "print(json.dumps([{'id': r.id, 'answer': r.answer, 'where': r.where, 'checked': r.check is not None} "
        "for r in TABLE]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[dict[str, str]] = json.loads(done.stdout)
    return rows


def of(name: str) -> dict[str, Any]:
    refused = name in REFUSALS or name in IMPOSSIBLE
    found: dict[str, Any] = result_of("refusal_cases" if refused else "conversion_cases", name)
    return found


def effect(outcome: dict[str, Any], fit: dict[str, Any]) -> str:
    """How an outcome differs from fit's."""
    if "error" in outcome:
        return "fails"
    if outcome["worst"] > 1e-6:
        return "weights"
    return "same" if outcome["evaluation"] == pytest.approx(fit["evaluation"], rel=1e-5, abs=1e-6) else "evaluation"


def rows_found(name: str, kind: str) -> list[str]:
    return [row for row, its_kind, _ in of(name)["findings"] if its_kind == kind]


@pytest.mark.parametrize("name", DETOURS)
def test_a_detour_keeps_what_the_plain_recipe_loses(name: str) -> None:
    found = of(name)
    assert effect(found["plain"], found["fit"]) == DETOURS[name], found["plain"]
    assert found["ours"].get("worst", found["ours"]) <= 1e-6
    if DETOURS[name] == "evaluation":
        assert effect(found["ours"], found["fit"]) == "same", found["ours"]
    assert rows_found(name, "refusal") + rows_found(name, "impossible") == []


@pytest.mark.parametrize("name", REFUSALS)
def test_a_loss_is_real_and_refused(name: str) -> None:
    found = of(name)
    assert effect(found["plain"], found["fit"]) == REFUSALS[name], found["plain"]
    assert rows_found(name, "refusal") == [name]
    assert rows_found(name, "impossible") == []


@pytest.mark.parametrize("name", WARNINGS)
def test_a_difference_in_reports_is_a_warning(name: str) -> None:
    found = of(name)
    assert effect(found["plain"], found["fit"]) == WARNINGS[name], found["plain"]
    assert SECOND_CASES.get(name, name) in rows_found(name, "warning")
    assert rows_found(name, "refusal") + rows_found(name, "impossible") == []


@pytest.mark.parametrize("name", WARNINGS)
def test_warned_or_not_the_names_of_metrics_are_known(name: str) -> None:
    found = of(name)
    if "ours" in found:
        assert {*found["names"], "loss"} == set(found["ours"]["evaluation"])


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_work_is_found_before(name: str) -> None:
    found = of(name)
    assert effect(found["plain"], found["fit"]) == "fails"
    assert rows_found(name, "impossible") == [name]


@pytest.mark.parametrize("name", [*REFUSALS, *WARNINGS, *IMPOSSIBLE])
def test_a_finding_is_a_clause_that_says_what_to_do(name: str) -> None:
    for row, _, sentence in of(name)["findings"]:
        assert not sentence.endswith("."), sentence
        assert not re.search(r"\b0x[0-9a-f]+|<.*object at", sentence), sentence
        assert "\n" not in sentence
        if row in REFUSALS or row in IMPOSSIBLE:
            assert re.search(
                r": (use|make|wrap|put|train|name|give|write|split|leave|return|let)\b|; (let|return)", sentence
            )


def test_each_row_of_the_table_is_shown(table: list[dict[str, str]]) -> None:
    answers = {
        **dict.fromkeys(DETOURS, "detour"),
        **dict.fromkeys(REFUSALS, "refusal"),
        **dict.fromkeys(WARNINGS, "warning"),
        **dict.fromkeys(IMPOSSIBLE, "impossible"),
    }
    shown = {row: answer for row, answer in answers.items() if row not in SECOND_CASES}
    assert {row["id"]: row["answer"] for row in table if row["id"] not in ELSEWHERE} == shown
    assert {row["id"] for row in table} >= ELSEWHERE
    assert len({row["id"] for row in table}) == len(table)


def test_each_row_has_a_check_or_says_where_it_is_taken_care_of(table: list[dict[str, str]]) -> None:
    for row in table:
        assert bool(row["checked"]) != bool(row["where"]), row
        for module in re.findall(r"trainer(?:\.\w+)+", row["where"]):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or path.parent.with_suffix(".py").exists(), module

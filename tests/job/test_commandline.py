"""The help page."""

from __future__ import annotations

import re

import pytest

from trainer.job.config import all_settings
from trainer.job.environment import Environment
from trainer.job.flags import HelpRequested, parse


def page(model_file: str, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(HelpRequested) as caught:
        parse([f"--model={model_file}", "--help"], Environment())
    return caught.value.text


def test_every_setting_has_its_flag_and_help(model_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(model_file, monkeypatch, columns=400)
    for each in all_settings().values():
        assert re.search(rf"^  {each.flag}(, --[a-z-]+)* {re.escape(each.kind.metavar)}\s", text, re.MULTILINE), (
            each.name
        )
        assert each.help in text


def test_groups_and_defaults(model_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(model_file, monkeypatch, columns=200)
    for heading in ("Model:", "Data:", "Training:", "Evaluation and export:", "Output:"):
        assert f"\n{heading}\n" in text
    assert "--batch-size INT" in text
    assert "(default: 256)" in text
    assert "--job-dir, --model-dir, --output-dir TEXT" in text
    assert "(default: JOB_DIR/checkpoints; environment: AIP_CHECKPOINT_DIR)" in text
    assert "(default: 4 unless --train-steps is given)" in text
    assert "130,143" in text
    assert "_size" not in text.partition("Underscores")[0]


def test_hyperparameters_have_their_heading(model_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(model_file, monkeypatch, columns=200).partition("\nHyperparameters: build_model of ")[2]
    lines = {line.split()[0].rstrip(","): line for line in text.splitlines() if line.startswith("  --")}
    assert lines["--units"].startswith("  --units INT ")
    assert lines["--units"].endswith("cells of the layer, 100% of them. (default: 64)")
    assert lines["--dropout"].endswith("the rate. (default: 0.0)")
    assert "relu|none|a,b" in lines["--activation"]
    assert lines["--layers"].endswith("(default: 64,32)")
    assert lines["--wide"].endswith("(default: UNITS * 2)")
    assert "--no-batch-norm" in lines["--batch-norm"]
    assert "optimizer has no flag: write its type" in text
    assert "--assets" not in lines
    assert "--optimizer" not in lines


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_fits_the_terminal(model_file: str, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    flags = page(model_file, monkeypatch, columns).partition("\nTraining:")[2].partition("\nOutput:")[0]
    assert max(map(len, flags.splitlines())) <= columns

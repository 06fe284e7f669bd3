"""The words at the head and the end of a report: which job this is, its summary, and how to do it again."""

from __future__ import annotations

import dataclasses
import datetime
import posixpath
import shlex

from trainer.training.progress import format_secs
from trainer.training.report_data import ReportData


@dataclasses.dataclass(frozen=True)
class Fact:
    """One figure of the summary: what it is, its value, and what to know about it."""

    name: str
    value: str
    note: str = ""


def headline(data: ReportData) -> dict[str, str]:
    """The name of the model, where it comes from, when it was trained, and what became of the job."""
    code = data.manifest.get("code", {})
    model = str(data.setting("model"))
    name = posixpath.basename(model.partition(":")[0]).removesuffix(".py").rpartition(".")[2]
    times = [point.at_secs for points in data.training.values() for point in points]
    return {
        "name": name,
        "model": f"{model.partition(':')[0]}:{code.get('function', 'build_model')}",
        "trained": _date(max(times)) if times else "",
        "status": str(data.result["status"]) if data.result else "not finished",
        "job_dir": data.paths.job_dir,
    }


def summary(data: ReportData) -> list[Fact]:
    """The figures that a person asks for first."""
    step = max([*data.evaluations, *(point.step for point in data.training.get("loss", ()))], default=0)
    facts = []
    if data.evaluations:
        last = max(data.evaluations)
        side = "held out" if data.held_out else "input_fn" if "input_fn" in data.manifest["data"] else "training files"
        names = sorted(data.evaluations[last], key=lambda name: (name == "loss", name.endswith("loss"), name))
        facts = [Fact(name, f"{data.evaluations[last][name]:.4f}", f"{side}, step {last:,}") for name in names]
    if data.best:
        best = data.best
        facts.append(Fact(f"best {best['metric']}", f"{best['value']:.4f}", f"at step {best['global_step']:,}"))
    facts.append(Fact("steps", f"{step:,}", _epochs(data, step)))
    if data.result:
        facts.append(Fact("time", format_secs(data.result["wall_secs"]), "of the last run, evaluations included"))
        if rate := data.result["examples_per_sec"]:
            facts.append(Fact("speed", f"{rate:,.0f}", "training examples per second"))
    return facts


def data_words(data: ReportData) -> str:
    """How much data there is."""
    described = data.manifest["data"]
    if "input_fn" in described:
        return f"The module reads its data with its own input_fn ({described['input_fn']})."
    words = f"{described.get('train_examples', 0):,} rows to train on"
    if bad := described.get("train_bad_rows", 0) + described.get("eval_bad_rows", 0):
        words = f"{bad:,} bad rows left out. {words}"
    if described.get("eval"):
        return f"{words}, {described.get('eval_examples', 0):,} held out to evaluate on."
    return f"{words}; no --eval-files, so the job was evaluated on them too."


def commands(data: ReportData) -> list[tuple[str, str]]:
    """What to type to do it again, and to look further."""
    folder = data.paths.job_dir
    again = [
        (
            "Run it again, elsewhere",
            ["python", "-m", "trainer.task", f"--config={data.paths.manifest}", f"--job-dir={folder}-again"],
        ),
        ("Look at it in TensorBoard", ["tensorboard", f"--logdir={data.paths.logs}"]),
        ("Make this page again", ["python", "-m", "trainer.report", folder]),
    ]
    return [(what, shlex.join(words)) for what, words in again]


def _epochs(data: ReportData, step: int) -> str:
    examples = data.manifest["data"].get("train_examples")
    return f"{step * data.setting('batch_size') / examples:.1f} times over the training data" if examples else ""


def _date(at_secs: float) -> str:
    moment = datetime.datetime.fromtimestamp(at_secs, datetime.timezone.utc)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"

"""A study, the part of a HyperparameterTuningJob that says what to try: read from its file, pure.

Where this machine cannot do what the service does, the study says so: `without_twin` has what would be left out or
done otherwise, and nobody runs it without the user's leave; `said` has what is only good to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.cloud.study_parameters import Parameter, Value, belonging, grid, grid_size, read_parameters, samples
from trainer.cloud.study_text import listed, mapping, text, truth, whole
from trainer.job.errors import UsageError

Goal = Literal["MAXIMIZE", "MINIMIZE"]
Algorithm = Literal["default", "grid", "random"]
RESERVED_METRICS = ("global_step", "trial", "timestamp", "checkpoint_path")  # keys of a report's own
MODULE = "trainer.task"
ALGORITHMS: dict[str | None, Algorithm] = {
    None: "default",
    "ALGORITHM_UNSPECIFIED": "default",
    "GRID_SEARCH": "grid",
    "RANDOM_SEARCH": "random",
}
SELECTIONS: dict[str | None, Literal["last", "best"]] = {
    None: "last",
    "MEASUREMENT_SELECTION_TYPE_UNSPECIFIED": "last",
    "LAST_MEASUREMENT": "last",
    "BEST_MEASUREMENT": "best",
}
FIELDS = ("metrics", "parameters", "algorithm", "measurementSelectionType", "medianAutomatedStoppingSpec")
WITHOUT_TWIN = {
    "decayCurveStoppingSpec": "no trial is stopped by it",
    "convexAutomatedStoppingSpec": "no trial is stopped by it",
    "convexStopCondition": "no trial is stopped by it",
    "studyStoppingConfig": "the study ends with its last trial",
    "observationNoise": "it is not used, and tuning jobs do not take it either",
    "transferLearningConfig": "no earlier study is used",
}


@dataclass(frozen=True)
class Study:
    """What to try, and how to judge it.

    Attributes:
      metric: its metricId; `goal` says which way is better.
      selection: which measurement of a trial is its value.
      max_failed: the failed trials that end the study; 0 leaves it to whoever runs it.
      median: what the median rule compares trials at, or None where no trial is stopped early.
      timeout_secs: the longest a trial may run.
      args: the arguments of each trial, before its parameters; `env` its environment variables.
      without_twin: what this machine would not do, and what it would do instead.
    """

    name: str
    metric: str
    goal: Goal
    parameters: tuple[Parameter, ...]
    algorithm: Algorithm
    selection: Literal["last", "best"]
    max_trials: int
    parallel_trials: int
    max_failed: int
    median: Literal["step", "secs"] | None
    timeout_secs: float | None
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    without_twin: tuple[str, ...]
    said: tuple[str, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Study:
        """Read the content of a HyperparameterTuningJob file. Raises UsageError naming the place in the file."""
        spec = mapping(content.get("studySpec"), "studySpec")
        job = mapping(content.get("trialJobSpec") or {}, "trialJobSpec")
        pool = _first_pool(job)
        container = pool.get("containerSpec") or pool.get("pythonPackageSpec") or {}
        metric, goal = _metric(spec)
        parameters = read_parameters(spec.get("parameters"), "studySpec.parameters")
        algorithm = _one_of(ALGORITHMS, spec, "algorithm")
        _refuse_endless_grid(algorithm, parameters)
        return cls(
            name=str(content.get("displayName") or ""),
            metric=metric,
            goal=goal,
            parameters=parameters,
            algorithm=algorithm,
            selection=_one_of(SELECTIONS, spec, "measurementSelectionType"),
            max_trials=_count(content, "maxTrialCount"),
            parallel_trials=_count(content, "parallelTrialCount"),
            max_failed=whole(content.get("maxFailedTrialCount") or 0, "maxFailedTrialCount"),
            median=_median(spec),
            timeout_secs=_timeout(job),
            args=tuple(_argument(each) for each in container.get("args") or ()),
            env=tuple((text(each.get("name"), "env"), str(each.get("value", ""))) for each in container.get("env", ())),
            without_twin=(*_study_without_twin(spec), *_job_without_twin(job, pool, container)),
            said=_said(algorithm),
        )

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.goal == "MAXIMIZE" else -1

    @property
    def identity(self) -> dict[str, Any]:
        """What trials have in common that can be compared, JSON-able; how many are run, and when, is not in it."""
        return {
            "metric": self.metric,
            "goal": self.goal,
            "algorithm": self.algorithm,
            "measurementSelectionType": self.selection,
            "parameters": [asdict(each) for each in self.parameters],
        }

    def flags(self, values: Mapping[str, Value]) -> list[str]:
        """A trial's parameters as its flags, in the study's order."""
        return [each.flag(values[each.name]) for each in belonging(self.parameters, values)]

    def admits(self, values: Mapping[str, Value]) -> bool:
        """Whether these are a trial's values: all that belong to it, no other, each allowed."""
        found = belonging(self.parameters, values)
        return {each.name for each in found} == set(values) and all(each.admits(values[each.name]) for each in found)

    def grid(self) -> Iterator[dict[str, Value]]:
        """The trials of a grid search."""
        return grid(self.parameters)

    @property
    def grid_size(self) -> int:
        """How many trials a grid search has."""
        return grid_size(self.parameters)

    def samples(self) -> list[dict[str, Value]]:
        """A few trials that together have every listed value and the ends of every range, to try flags with."""
        return samples(self.parameters)


def _metric(spec: Mapping[str, Any]) -> tuple[str, Goal]:
    given = listed(spec.get("metrics"), "studySpec.metrics")
    if not given:
        raise UsageError("studySpec.metrics: expected the metric to tune for, such as metricId: accuracy.")
    first = mapping(given[0], "studySpec.metrics[0]")
    metric, goal = text(first.get("metricId"), "studySpec.metrics[0].metricId"), first.get("goal")
    if goal not in ("MAXIMIZE", "MINIMIZE"):
        raise UsageError(f"studySpec.metrics[0].goal={goal}: expected MAXIMIZE or MINIMIZE.")
    if metric in RESERVED_METRICS:
        raise UsageError(f"studySpec.metrics[0].metricId={metric}: a report uses that name for itself; rename it.")
    return metric, goal


def _one_of(table: Mapping[str | None, Any], spec: Mapping[str, Any], key: str) -> Any:
    given = spec.get(key)
    if given not in table:
        raise UsageError(f"studySpec.{key}={given}: expected one of {', '.join(name for name in table if name)}.")
    return table[given]


def _count(content: Mapping[str, Any], key: str) -> int:
    """1 where the file says nothing, which is gcloud's default too."""
    count = whole(content.get(key) or 1, key)
    if count < 1:
        raise UsageError(f"{key}={count}: expected a whole number of at least 1.")
    return count


def _refuse_endless_grid(algorithm: Algorithm, parameters: tuple[Parameter, ...]) -> None:
    below = [child for each in parameters for _, child in each.children]
    for each in parameters if algorithm == "grid" else ():
        if each.kind == "double":
            raise UsageError(
                f"studySpec.algorithm=GRID_SEARCH: {each.name} is a double, which has no end of values: make it "
                "discrete, or take RANDOM_SEARCH; Vertex AI refuses it too."
            )
    if below:
        _refuse_endless_grid(algorithm, tuple(below))


def _median(spec: Mapping[str, Any]) -> Literal["step", "secs"] | None:
    given, where = spec.get("medianAutomatedStoppingSpec"), "studySpec.medianAutomatedStoppingSpec"
    if given is None:
        return None
    return "secs" if truth(mapping(given, where).get("useElapsedDuration"), where) else "step"


def _timeout(job: Mapping[str, Any]) -> float | None:
    given = mapping(job.get("scheduling") or {}, "trialJobSpec.scheduling").get("timeout")
    if given is None:
        return None
    where = "trialJobSpec.scheduling.timeout"
    try:
        return float(text(given, where).removesuffix("s"))
    except ValueError:
        raise UsageError(f'{where}={given}: expected seconds such as "7200s".') from None


def _first_pool(job: Mapping[str, Any]) -> Mapping[str, Any]:
    pools = listed(job.get("workerPoolSpecs") or [{}], "trialJobSpec.workerPoolSpecs")
    return mapping(pools[0], "trialJobSpec.workerPoolSpecs[0]")


def _argument(given: Any) -> str:
    return given if given == "" else text(given, "trialJobSpec.workerPoolSpecs[0]: an argument")


def _study_without_twin(spec: Mapping[str, Any]) -> Iterator[str]:
    for key in spec:
        if key not in FIELDS and spec[key] is not None:
            yield f"studySpec.{key} ({WITHOUT_TWIN.get(key, 'it is not used')})"
    for each in spec["metrics"][1:]:
        yield f"studySpec.metrics: {each} (only the first metric decides)"
    if mapping(spec["metrics"][0], "studySpec.metrics[0]").get("safetyConfig"):
        yield "studySpec.metrics[0].safetyConfig (unsafe trials run like others)"
    for place, each in enumerate(spec["parameters"]):
        if _has(each, "defaultValue"):
            yield f"studySpec.parameters[{place}]: defaultValue (no trial begins with it; tuning jobs refuse it)"


def _job_without_twin(job: Mapping[str, Any], pool: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    where = "trialJobSpec.workerPoolSpecs"
    machine = pool.get("machineSpec") or {}
    others = [place for place, each in enumerate(job.get("workerPoolSpecs") or []) if place and each]
    if others:
        yield f"{where}[{others[0]}] (a trial is one process, that of the first pool)"
    if whole(pool.get("replicaCount") or 1, f"{where}[0].replicaCount") > 1:
        yield f"{where}[0].replicaCount={pool['replicaCount']} (a trial is one process)"
    for key in ("acceleratorType", "tpuTopology"):
        if machine.get(key):
            yield f"{where}[0].machineSpec.{key}={machine[key]} (trials use what this machine has)"
    if container.get("command"):
        yield f"{where}[0].containerSpec.command ({MODULE} runs in its place)"
    if container.get("pythonModule", MODULE) != MODULE:
        yield f"{where}[0].pythonPackageSpec.pythonModule={container['pythonModule']} ({MODULE} runs in its place)"


def _has(given: Any, key: str) -> bool:
    """Whether a key stands there, at any depth."""
    below = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    return (isinstance(given, dict) and key in given) or any(_has(each, key) for each in below)


def _said(algorithm: Algorithm) -> tuple[str, ...]:
    bayes = "the study leaves the algorithm to Vertex AI, which is Bayesian: optuna's TPE stands for it here"
    return (bayes,) if algorithm == "default" else ()

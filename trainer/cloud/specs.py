"""The files that say what to run in the cloud: read once, told apart by their root keys.

    workerPoolSpecs ...              config.yaml, a Vertex AI CustomJobSpec
    studySpec, trialJobSpec ...      hptuning_config.yaml, a Vertex AI HyperparameterTuningJob
    trainingInput                    a file of the old AI Platform Training, which `--convert-legacy` turns into both

The keys are the public API's, written as it writes them: no dialect of ours. What stands below the root is looked at
by the checks, so that all findings come together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from trainer.cloud.schema import MESSAGES, OF_THE_JOB, ROOTS
from trainer.cloud.wording import shown
from trainer.job.errors import UsageError
from trainer.job.mistakes import closest, proposal

Kind = Literal["custom_job", "tuning_job", "legacy"]

MAX_BYTES = 1_000_000
MARKS: dict[Kind, tuple[str, ...]] = {
    "custom_job": ("workerPoolSpecs",),
    "tuning_job": ("studySpec", "trialJobSpec"),
    "legacy": ("trainingInput",),
}
_NAMED = {
    "custom_job": "a CustomJobSpec (config.yaml)",
    "tuning_job": "a HyperparameterTuningJob (hptuning_config.yaml)",
    "legacy": "a file of the old AI Platform Training",
}


@dataclass(frozen=True)
class Spec:
    """One file as written. Nobody changes `content`: what a request adds goes into a copy.

    YAML scalars keep their type: an unquoted 0.1 among the args is a float here, for the checks to report. `job_spec`
    and `pools` take a value of the wrong shape for an empty one: the checks report that from `content`.
    """

    path: str
    kind: Kind
    content: dict[str, Any]

    @property
    def job_spec(self) -> dict[str, Any]:
        """The CustomJobSpec within. Raises UsageError for a legacy file, which has none."""
        if self.kind == "legacy":
            raise UsageError(
                f"{self.path} is {_NAMED['legacy']}, shut down in January 2025: "
                f"python -m trainer.submit --convert-legacy {self.path} writes what Vertex AI takes."
            )
        found = self.content if self.kind == "custom_job" else self.content.get("trialJobSpec")
        return found if isinstance(found, dict) else {}

    @property
    def pools(self) -> list[dict[str, Any]]:
        """The worker pools by their place: chief, worker, parameter server, evaluator; {} holds a place free."""
        found = self.job_spec.get("workerPoolSpecs")
        return [each if isinstance(each, dict) else {} for each in found] if isinstance(found, list) else []


def read_spec(path: str) -> Spec:
    """Read one file, YAML or (named .json) JSON.

    Raises:
      UsageError: it is missing, larger than a megabyte, not YAML or JSON, says a key twice, or its root keys are not
        those of one of the three kinds.
    """
    from trainer.cloud.spec_text import parse  # yaml: a door's help page does without

    content = parse(path, _text(path))
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise UsageError(f"{path} holds {found}: expected a mapping that begins with a key such as workerPoolSpecs:.")
    return Spec(path, _kind(path, content), content)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: no such file; give a YAML or JSON file such as config.yaml.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        if len(data) <= MAX_BYTES:
            raise UsageError(f"{path} is not UTF-8 text: give a YAML or JSON file such as config.yaml.") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes: that is no description of a job.")
    return text


def _kind(path: str, content: dict[str, Any]) -> Kind:
    marked = {kind: [key for key in marks if key in content] for kind, marks in MARKS.items()}
    kinds = [kind for kind, found in marked.items() if found]
    if not kinds:
        raise _unmarked(path, content)
    if len(kinds) > 1:
        keys = " and ".join(marked[kind][0] for kind in kinds)
        raise UsageError(f"{path} has {keys}, which are of different kinds of job: put each into a file of its own.")
    for key in content:
        if kinds[0] != "legacy" and key not in MESSAGES[ROOTS[kinds[0]]]:
            raise _unknown(path, kinds[0], key)
    return kinds[0]  # the converter names what is unknown in a legacy file, at every depth


def _unmarked(path: str, content: Iterable[str]) -> UsageError:
    if "jobSpec" in content:
        return UsageError(f"{path}: jobSpec is of a whole CustomJob: move what stands below it to the left margin.")
    marks = [mark for each in MARKS.values() for mark in each]
    for key in content:
        if closest(key, marks):
            return UsageError(f"{path}: unknown key {shown(key)}: {proposal(closest(key, marks))}")
    return UsageError(
        f"{path}: expected workerPoolSpecs (a custom job), studySpec and trialJobSpec (a tuning job) or trainingInput "
        f"(the old AI Platform) at the left margin, found {shown(', '.join(content)) or 'nothing'}."
    )


def _unknown(path: str, kind: Kind, key: str) -> UsageError:
    if kind == "custom_job" and key in OF_THE_JOB:
        return UsageError(f"{path}: {key} belongs to the job around this CustomJobSpec: {OF_THE_JOB[key]}.")
    keys = MESSAGES[ROOTS[kind]]
    near = closest(key, keys)
    meant = proposal(near) if near else f"its keys are {', '.join(keys)}."
    return UsageError(f"{path}: unknown key {shown(key)} in {_NAMED[kind]}: {meant}")

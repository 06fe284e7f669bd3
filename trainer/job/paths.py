"""Every file name of a job is a property of one class; nothing here touches a disk.

A job directory may be local or `gs://...`: both join with "/".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.job.config import Job
from trainer.job.sources import DEFAULT_FUNCTION, split_ref


@dataclass(frozen=True)
class JobPaths:
    """The names below one job directory; `checkpoint_dir` and `log_dir` move those two elsewhere."""

    job_dir: str
    checkpoint_dir: str | None = None
    log_dir: str | None = None

    @classmethod
    def of(cls, job: Job, trial_id: str | None = None) -> JobPaths:
        """The paths of a job; a trial of a study has its own folder below the job directory.

        A managed service hands out <base>/checkpoints/ and <base>/model/, each trial's own already: without a
        --job-dir, <base> is the job directory, as anything below the working directory is lost with the machine.
        """
        output = job.output
        base = output.job_dir or _base(output.checkpoint_dir, "checkpoints") or _base(output.export_dir, "model")
        if output.job_dir or base is None:
            base = posixpath.join(base or default_job_dir(job.model.model), trial_id or "").rstrip("/")
        return cls(base, output.checkpoint_dir and output.checkpoint_dir.rstrip("/"), output.log_dir)

    def _below(self, *names: str) -> str:
        return posixpath.join(self.job_dir, *names)

    @property
    def manifest(self) -> str:
        """What was asked, by whom; the `--config` that runs it again."""
        return self._below("manifest.json")

    @property
    def result(self) -> str:
        """What came out: steps, metrics, exports."""
        return self._below("result.json")

    @property
    def report(self) -> str:
        """What happened, to look at: one page that needs nothing else."""
        return self._below("report.html")

    @property
    def bad_rows(self) -> str:
        """One JSON object a line, a row that was left out each."""
        return self._below("bad_rows.jsonl")

    @property
    def evaluations(self) -> str:
        """One JSON object a line, an evaluation each."""
        return self._below("evaluations.jsonl")

    @property
    def lock(self) -> str:
        """Held while a process works in the job directory."""
        return self._below("job.lock")

    @property
    def cluster(self) -> str:
        """What the processes of a cluster tell each other."""
        return self._below("cluster")

    @property
    def checkpoints(self) -> str:
        """The Estimator's model_dir."""
        return self.checkpoint_dir or self._below("checkpoints")

    @property
    def logs(self) -> str:
        """Event files; the Estimator writes them beside the checkpoints unless told otherwise."""
        return self.log_dir or self.checkpoints

    @property
    def assets(self) -> str:
        """Vocabularies and statistics found in the training data."""
        return self._below("assets")

    @property
    def exports(self) -> str:
        """The folder of all exports."""
        return self._below("export")

    def export(self, name: str) -> str:
        """The folder of one exporter (latest, best, final), with a folder for each export's time below."""
        return posixpath.join(self.exports, name)

    @property
    def best(self) -> str:
        """The best value so far, which must survive a restart."""
        return posixpath.join(self.exports, "best.json")

    @property
    def previous(self) -> str:
        """Where `--fresh` moves earlier runs, each into a folder of its own."""
        return self._below("previous")

    @property
    def run_files(self) -> tuple[str, ...]:
        """All that belongs to one run and moves aside with it."""
        return (
            self.manifest,
            self.result,
            self.report,
            self.evaluations,
            self.bad_rows,
            self.checkpoints,
            self.assets,
            self.exports,
        )


def _base(folder: str | None, name: str) -> str | None:
    """The folder above, if this one is called `name`."""
    base, _, last = (folder or "").rstrip("/").rpartition("/")
    return base if base and last == name else None


def default_job_dir(ref: str) -> str:
    """`runs/NAME`: the module's name, and the function's where it is not the usual one."""
    source, function = split_ref(ref)
    stem = PurePosixPath(source).stem if source.endswith(".py") else source.rpartition(".")[2]
    return posixpath.join("runs", stem if function == DEFAULT_FUNCTION else f"{stem}-{function}")

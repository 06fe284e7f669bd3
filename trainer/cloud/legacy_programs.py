"""What an old job ran, a container or Python packages, as containerSpec or pythonPackageSpec of each worker pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.cloud.legacy_fields import Notes
from trainer.cloud.legacy_machines import TPU_MACHINE
from trainer.job.errors import UsageError

OWN_IMAGE = "REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest"
OWN_MODULE = "trainer.task"
PREBUILT = "us-docker.pkg.dev/vertex-ai/training/tf-{device}.2-15.py310:latest"
CONFIGS = ("masterConfig", "workerConfig", "parameterServerConfig", "evaluatorConfig")


class Programs:
    """The programs of a TrainingInput, a role after the other; what has to be said goes to `notes`.

    Raises:
      UsageError: `args` and `containerArgs` or `containerCommand` are both given, which the old service refused too.
    """

    def __init__(self, training: Mapping[str, Any], notes: Notes) -> None:
        self.training, self.notes = training, notes
        self.master = self._config("masterConfig")
        self._refuse_both()
        self.packages: list[str] = training.get("packageUris") or []
        self.module: str | None = training.get("pythonModule")
        if any(self._config(name).get("imageUri") for name in CONFIGS):
            self._leave_out_packages()

    def of(self, role: str, machine: Mapping[str, Any]) -> dict[str, Any]:
        """The containerSpec or pythonPackageSpec of one role."""
        config = self._config(f"{role}Config")
        image = config.get("imageUri") or self.master.get("imageUri")
        args = self._with_job_dir(list(self.training.get("args") or self._inherited(config, "containerArgs")))
        said = {"args": args} if args else {}
        command = self._inherited(config, "containerCommand")
        if self.packages:
            if command:
                self.notes.drop(
                    f"trainingInput.{role}Config.containerCommand", command, "packages run by pythonModule."
                )
            return {"pythonPackageSpec": {**self._package(machine), **said}}
        command = command or self._module_command()
        return {
            "containerSpec": {"imageUri": image or self._own(), **({"command": command} if command else {}), **said}
        }

    def _refuse_both(self) -> None:
        for name in CONFIGS:
            for field in ("containerArgs", "containerCommand"):
                if self._config(name).get(field) and self.training.get("args"):
                    raise UsageError(
                        f"trainingInput.args and trainingInput.{name}.{field} exclude each other: keep one of them."
                    )

    def _config(self, name: str) -> Mapping[str, Any]:
        return self.training.get(name) or {}

    def _leave_out_packages(self) -> None:
        for name in ("packageUris", "pythonModule"):
            if self.training.get(name):
                self.notes.drop(f"trainingInput.{name}", self.training[name], "a container image is named, and runs.")
        self.packages, self.module = [], None

    def _inherited(self, config: Mapping[str, Any], field: str) -> list[str]:
        """A role without an image of its own runs the master's."""
        own: list[str] = config.get(field) or []
        if own or config.get("imageUri") or config is self.master or not self.master.get(field):
            return own
        self.notes.assume(f"{field} of masterConfig is taken for the other roles that run its image, too.")
        return list(self.master[field])

    def _own(self) -> str:
        self.notes.assume(
            f"The file names no image for all roles and no packages (perhaps the old command's flags did): {OWN_IMAGE} "
            "stands there; build and push it with this project's Dockerfile, and put the real name in."
        )
        return OWN_IMAGE

    def _module_command(self) -> list[str]:
        if self.module in (None, OWN_MODULE):
            return []
        self.notes.assume(
            f"trainingInput.pythonModule={self.module} becomes the command of the image: it has to be in there."
        )
        return ["python", "-m", str(self.module)]

    def _with_job_dir(self, args: list[str]) -> list[str]:
        """The old service appended --job-dir; Vertex AI does not."""
        job_dir = self.training.get("jobDir")
        if job_dir is None:
            return args
        if any(arg.partition("=")[0] in ("--job-dir", "--job_dir") for arg in args):
            self.notes.assume(f"The args have a --job-dir already: check that it agrees with jobDir={job_dir}.")
            return args
        return [*args, f"--job-dir={job_dir}"]

    def _package(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        on_tpu = machine["machineType"] == TPU_MACHINE
        image = PREBUILT.format(device="tpu" if on_tpu else "gpu" if "acceleratorType" in machine else "cpu")
        self.notes.assume(
            f"{image} stands for the old runtime version: it is the last prebuilt image with TensorFlow's Estimator, "
            "which Google stopped offering in 2025; where it is gone, build one with the Dockerfile: containerSpec."
        )
        if self.module is None:
            self.notes.assume(f"trainingInput.pythonModule is not said: {OWN_MODULE} is assumed.")
        return {
            "executorImageUri": image,
            "packageUris": list(self.packages),
            "pythonModule": self.module or OWN_MODULE,
        }

"""An export of ours, loaded to be asked: `ServedModel.load(latest_export(folder)).predict(columns)`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.errors import UsageError
from trainer.job.serving import KEY, SPEC_FILE, ServingSpec
from trainer.training.failures import storage_refusals

SIGNATURE = "serving_default"
GRAPH_FILE = "saved_model.pb"
KINDS = ("best", "final", "latest")  # of a job's exports, the first that is there is taken
WHERE = "name an export, or the folder of a job that has finished"


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A SavedModel with the columns it takes and the outputs it gives."""

    spec: ServingSpec
    _run: Callable[..., Mapping[str, tf.Tensor]]
    _dtypes: Mapping[str, tf.DType]
    _model: Any  # its variables live as long as this

    @classmethod
    def load(cls, export: str) -> ServedModel:
        """Load an export.

        Raises:
          UsageError: the folder is none of ours, is damaged, or may not be read any more.
          StorageFailed: Cloud Storage does not give it.
        """
        path = export.rstrip("/")
        for name in (GRAPH_FILE, f"assets.extra/{SPEC_FILE}"):
            if not tf.io.gfile.exists(f"{path}/{name}"):
                raise UsageError(f"{export} is no export of this trainer, as it has no {name}: {WHERE}.")
        spec = _read_spec(export, f"{path}/assets.extra/{SPEC_FILE}")
        try:
            with storage_refusals():
                model = tf.saved_model.load(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            words = " ".join(str(error).split())[:200]
            raise UsageError(f"{export} cannot be loaded ({words}): it is damaged, take another export.") from error
        if SIGNATURE not in model.signatures:
            raise UsageError(f"{export} has no signature {SIGNATURE}: {WHERE}.")
        run = model.signatures[SIGNATURE]
        dtypes = {name: each.dtype for name, each in run.structured_input_signature[1].items()}
        return cls(spec, run, dtypes, model)

    def predict(self, columns: Mapping[str, Any], key: Any = None) -> dict[str, np.ndarray]:
        """Ask for rows: columns ([batch, *shape], text as bytes or str) -> outputs ([batch, ...]).

        The names of all classes, the same in each row, are left out: `spec.outputs` has them. Without a `key` (string,
        [batch]) that output is empty text. Columns that the model does not take are ignored.

        Raises:
          KeyError: a column is missing.
        """
        feeds = {
            name: tf.convert_to_tensor(columns[name], dtype) for name, dtype in self._dtypes.items() if name != KEY
        }
        if KEY in self._dtypes:
            feeds[KEY] = tf.constant([], tf.string) if key is None else tf.convert_to_tensor(key, tf.string)
        constant = {output.classes_output for output in self.spec.outputs}
        return {name: value.numpy() for name, value in self._run(**feeds).items() if name not in constant}


def latest_export(job_dir_or_export: str) -> str:
    """The path of an export: the folder itself, the newest in a folder of exports, or a job's best, final or latest.

    Raises:
      UsageError: there is none; the sentence says what was looked for.
    """
    folder = job_dir_or_export.rstrip("/")
    if tf.io.gfile.exists(f"{folder}/{GRAPH_FILE}"):
        return folder
    for place in (folder, *(f"{folder}/export/{kind}" for kind in KINDS), *(f"{folder}/{kind}" for kind in KINDS)):
        names = tf.io.gfile.listdir(place) if tf.io.gfile.isdir(place) else []
        times = [name.rstrip("/") for name in names if name.rstrip("/").isdigit()]
        whole = [time for time in times if tf.io.gfile.exists(f"{place}/{time}/{GRAPH_FILE}")]
        if whole:
            return f"{place}/{max(whole, key=int)}"
    what = "no export" if tf.io.gfile.isdir(folder) else "no folder"
    raise UsageError(
        f"{job_dir_or_export} is {what}: looked for {GRAPH_FILE} in it, in folders called by a time, and in "
        f"export/{', export/'.join(KINDS)}; {WHERE}."
    )


def _read_spec(export: str, path: str) -> ServingSpec:
    try:
        with tf.io.gfile.GFile(path) as file:
            return ServingSpec.from_json(json.load(file))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{export}: its {SPEC_FILE} cannot be read ({error}): take another export.") from error

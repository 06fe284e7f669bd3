"""Does an export predict what the model predicts? Asked in a process that has nothing but the export.

    python -m trainer.training.verification EXPORT ...

Each EXPORT gets a `verification.json`. Exit code 0 if all pass, 4 if one does not.
"""

from __future__ import annotations

import json
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import trainer
from trainer.job.errors import VerificationFailed
from trainer.training.records import put_json, read_json

LOG = logging.getLogger("trainer")
ROWS_FILE = "verification_rows.json"
RESULT_FILE = "verification.json"
SIGNATURE = "serving_default"
TOLERANCE = 1e-5  # absolute, and relative to the prediction
DEADLINE_SECS = 600.0


def verify_exports(exports: Sequence[str]) -> None:
    """Verify, in a fresh process, those exports that have not passed yet.

    Raises:
      VerificationFailed: an export predicts something else, or cannot be loaded.
    """
    unverified = [path for path in exports if not _has_passed(path)]
    if not unverified:
        return
    root = str(pathlib.Path(trainer.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "trainer.training.verification", *unverified]
    # a session of its own: Ctrl-C is for the job, which ends this process by itself
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise VerificationFailed(f"verification of {unverified[0]} took over {DEADLINE_SECS:.0f} s") from error
    if done.returncode != 0:
        words = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["it said nothing"]
        raise VerificationFailed(f"verification failed: {words[-1]}")


def _has_passed(export: str) -> bool:
    record = read_json(f"{export}/{RESULT_FILE}")
    return record is not None and record["passed"] is not False


def verify(export: str) -> dict[str, Any]:
    """Load one SavedModel, run its rows and compare; the record that becomes verification.json."""
    import tensorflow as tf

    with tf.io.gfile.GFile(f"{export}/assets.extra/{ROWS_FILE}") as file:
        rows = json.load(file)
    if rows["request"] is None:
        return _put(export, {"passed": None, "why": "what this module's own receiver takes is not known"})
    run = tf.saved_model.load(export).signatures[SIGNATURE]
    wanted = run.structured_input_signature[1]
    request = {name: tf.constant(values, wanted[name].dtype) for name, values in rows["request"].items()}
    outputs = {name: value.numpy() for name, value in run(**request).items()}
    differences = {name: difference(outputs.get(name), values) for name, values in rows["predictions"].items()}
    return _put(
        export,
        {
            "passed": all(each <= 1.0 for each in differences.values()),
            "signature": SIGNATURE,
            "rows": len(next(iter(rows["predictions"].values()))),
            "tolerance": TOLERANCE,
            "difference_in_tolerances": differences,
            "tensorflow": tf.__version__,
        },
    )


def _put(export: str, record: dict[str, Any]) -> dict[str, Any]:
    put_json(f"{export}/{RESULT_FILE}", record)
    return record


def difference(served: Any, predicted: list[Any]) -> float:
    """The largest difference, in units of the tolerance; infinite where shapes, text or NaNs differ."""
    if served is None:
        return float("inf")
    expected = np.asarray(predicted)
    if served.dtype.kind in "OSU":
        texts = [each.decode() if isinstance(each, bytes) else each for each in served.ravel().tolist()]
        return 0.0 if texts == expected.ravel().tolist() else float("inf")
    if served.shape != expected.shape or expected.dtype.kind not in "biuf":
        return float("inf")
    given = served.astype(np.float64)
    same = (given == expected) | (np.isnan(given) & np.isnan(expected))
    with np.errstate(invalid="ignore"):  # infinity less infinity
        off = np.abs(given - expected) / (TOLERANCE * (1.0 + np.abs(expected)))
    return float(np.max(np.where(same, 0.0, np.nan_to_num(off, nan=np.inf, posinf=np.inf)), initial=0.0))


def main(argv: Sequence[str]) -> int:
    """Verify each export; print a sentence about each that fails."""
    passed = True
    for export in argv:
        record = verify(export)
        if record["passed"] is False:
            passed = False
            worst = max(record["difference_in_tolerances"].items(), key=lambda item: item[1])
            print(f"{export}: output {worst[0]} is off by {worst[1]:.3g} times the tolerance of {TOLERANCE}")
    return 0 if passed else VerificationFailed.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

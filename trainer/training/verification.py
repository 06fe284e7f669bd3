"""Does an export predict what the model predicts, whichever way it is asked? In a process that has nothing but it.

    python -m trainer.training.verification EXPORT ...

Each EXPORT gets a `verification.json`. Exit code 0 if all pass, 4 if one does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pathlib
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from trainer.job.environment import helper_environ
from trainer.job.errors import VerificationFailed
from trainer.job.serving import KEY, SPEC_FILE, Output, ServingSpec
from trainer.training.handouts import csv_line, encode_example, from_json, is_text, keys_of, rows_of, to_json
from trainer.training.records import local_copy, put_json, read_json
from trainer.training.signatures import CSV, EXAMPLES, has_csv, has_examples

LOG = logging.getLogger("trainer")
ROWS_FILE = "verification_rows.json"
RESULT_FILE = "verification.json"
SIGNATURE = "serving_default"
TOLERANCE = 1e-5  # absolute, and relative to the prediction
DEADLINE_SECS = 600.0
BLOCK_BYTES = 2**20


def verify_exports(exports: Sequence[str]) -> None:
    """Verify, in a fresh process, those exports that have not passed yet.

    Raises:
      VerificationFailed: an export predicts something else, or cannot be loaded.
    """
    unverified = [path for path in exports if not _has_passed(path)]
    if not unverified:
        return
    command = [sys.executable, "-m", "trainer.training.verification", *unverified]
    # a session of its own: Ctrl-C is for the job, which ends this process by itself
    try:
        done = subprocess.run(
            command,
            env=helper_environ(),
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


def verify(export: str, known: MutableMapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Load one SavedModel, send its rows to each signature and compare; the record that becomes verification.json.

    `known` holds the records of exports that were loaded before, by their content, and gains this one: an export of one
    kind is as a rule a copy of one of another kind, and loading a model takes long.
    """
    records = {} if known is None else known
    with local_copy(export) as here:
        content = _content(here)
        if content not in records:
            records[content] = _compared(export, here)
    put_json(f"{export}/{RESULT_FILE}", records[content])
    return records[content]


def _content(folder: str) -> str:
    """A digest of the names and the bytes of all that lies in an export, but for the record of a verification."""
    described = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name, digest = path.relative_to(folder).as_posix(), hashlib.sha256()
        if path.is_file() and name != RESULT_FILE:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
            described.append((name, digest.hexdigest()))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _compared(export: str, here: str) -> dict[str, Any]:
    import tensorflow as tf

    rows = read_json(f"{here}/assets.extra/{ROWS_FILE}")
    if rows is None:
        raise VerificationFailed(f"{export} has no assets.extra/{ROWS_FILE}")
    if rows["request"] is None:
        return {"passed": None, "why": "what this module's own receiver takes is not known"}
    spec = read_json(f"{here}/assets.extra/{SPEC_FILE}")
    signatures = dict(tf.saved_model.load(here).signatures)
    known, differences, problems = Rows(rows, spec and ServingSpec.from_json(spec)), {}, {}
    for name in known.expected(_inputs(signatures[SIGNATURE])):
        try:
            differences[name] = known.ask(name, signatures[name])
        except tf.errors.OpError as error:
            problems[name] = _said(error.message)
        except KeyError as error:
            problems[name] = f"takes {error.args[0]}, which is not known" if name in signatures else "it is missing"
    passed = not problems and all(each <= 1.0 for found in differences.values() for each in found.values())
    return {
        "passed": passed,
        "signatures": list(differences),
        "not_checked": sorted(set(signatures) - set(differences) - set(problems)),
        "rows": known.count,
        "tolerance": TOLERANCE,
        "difference_in_tolerances": differences,
        "problems": problems,
        "tensorflow": tf.__version__,
    }


class Rows:
    """Some rows in the forms that the signatures take, and what has to come out."""

    def __init__(self, rows: Mapping[str, Any], spec: ServingSpec | None) -> None:
        self._request, self._predictions, self._spec = rows["request"], rows["predictions"], spec
        self._rows = rows_of(self._request)
        self.count = len(self._rows)
        self._keys = keys_of(self._request, self.count, spec)

    def expected(self, inputs: Collection[str]) -> list[str]:
        """The signatures to ask, by what `serving_default` takes: a receiver of the user's own makes no others."""
        if self._spec is None or KEY not in inputs or KEY in self._spec.features:
            return [SIGNATURE]
        possible = {EXAMPLES: has_examples(self._spec.features), CSV: has_csv(self._spec.features) and self._as_lines}
        return [SIGNATURE, *(name for name, is_possible in possible.items() if is_possible)]

    def ask(self, signature: str, run: Any) -> dict[str, float]:
        """Output -> its largest difference, in units of the tolerance; keys are sent in each way there is."""
        if signature == SIGNATURE:
            keys = self._keys if KEY in _inputs(run) else None
            columns = {name: values for name, values in self._request.items() if name != KEY}
            return self._differences(_call(run, {**columns, **({} if keys is None else {KEY: keys})}), keys)
        assert self._spec is not None, "without one, no other signature is expected"
        numbers = self._as_lines if signature == CSV else range(self.count)
        rows, keys = [self._rows[number] for number in numbers], [self._keys[number] for number in numbers]
        write: Callable[..., Any] = {EXAMPLES: encode_example, CSV: csv_line}[signature]
        feeds = [{signature: [write(row, self._spec) for row in rows], KEY: keys}]
        if signature == CSV or self._spec.stored.get(KEY) != "float32":  # a fraction has more than one text
            inside = [write(row, self._spec, key) for row, key in zip(rows, keys, strict=True)]
            feeds.append({signature: inside, KEY: []})
        found = [self._differences(_call(run, feed), keys, numbers) for feed in feeds]
        return {name: max(each[name] for each in found) for name in found[0]}

    def _differences(
        self, outputs: Mapping[str, Any], keys: list[str] | None, numbers: Sequence[int] | None = None
    ) -> dict[str, float]:
        """What is served against what was predicted, classes against scores, keys against what was sent."""
        predictions = self._predictions
        if numbers is not None:
            predictions = {name: [values[number] for number in numbers] for name, values in predictions.items()}
        found = {name: difference(outputs.get(name), values) for name, values in predictions.items()}
        for output in self._spec.outputs if self._spec else ():
            if output.classes:
                found |= _about_classes(output, outputs)
        return found if keys is None else {**found, KEY: difference(outputs.get(KEY), keys)}

    @property
    def _as_lines(self) -> list[int]:
        """The numbers of the rows that a line of CSV can hold."""
        return [number for number, row in enumerate(self._rows) if is_text(row)]


def _call(run: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    wanted = run.structured_input_signature[1]
    tensors = {name: tf.constant(from_json(feeds[name]), spec.dtype) for name, spec in wanted.items()}
    return {name: value.numpy() for name, value in run(**tensors).items()}


def _inputs(run: Any) -> Collection[str]:
    return list(run.structured_input_signature[1])


def _about_classes(output: Output, outputs: Mapping[str, Any]) -> dict[str, float]:
    """Whether the class is that of the largest score; infinite where it is not, or something is missing."""
    names = (output.class_output, output.classes_output, output.scores_output)
    chosen, classes, scores = (outputs.get(str(name)) for name in names)
    if scores is None or scores.shape[1:] != (len(output.classes),):
        return dict.fromkeys(map(str, names), float("inf"))
    whole = ~np.isnan(scores).any(axis=-1)  # there is no largest one beside NaN
    best = [output.classes[number] for number in np.argmax(scores[whole], axis=-1)]
    every = [list(output.classes)] * len(scores)
    return {
        str(output.class_output): difference(None if chosen is None else chosen[whole], best),
        str(output.classes_output): difference(classes, every),
    }


def difference(served: Any, predicted: list[Any]) -> float:
    """The largest difference, in units of the tolerance; infinite where shapes, text or NaNs differ."""
    if served is None:
        return float("inf")
    expected = np.asarray(predicted)
    if served.dtype.kind in "OSU":
        return 0.0 if to_json(served.tolist()) == expected.tolist() else float("inf")
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
    known: dict[str, dict[str, Any]] = {}
    for export in argv:
        record = verify(export, known)
        if record["passed"] is False:
            passed = False
            print(f"{export}: {_worst(record)}")
    return 0 if passed else VerificationFailed.exit_code


def _said(message: str) -> str:
    """What TensorFlow says of an error, without where in the graph."""
    lines = [line.strip() for line in message.splitlines()]
    where = ("Graph execution error", "Detected at", "File ", "Node:", "[[")
    return " ".join(line for line in lines if line and not line.startswith(where))[:300]


def _worst(record: Mapping[str, Any]) -> str:
    for signature, words in record["problems"].items():
        return f"signature {signature}: {words}"
    differences = record["difference_in_tolerances"]
    signature, output = max(
        ((signature, output) for signature, found in differences.items() for output in found),
        key=lambda pair: differences[pair[0]][pair[1]],
    )
    off = differences[signature][output]
    return f"signature {signature}: output {output} is off by {off:.3g} times the tolerance of {TOLERANCE}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

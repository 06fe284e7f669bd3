"""The README.md beside an export: what it takes and gives, and commands that work as they stand."""

from __future__ import annotations

import ast
import base64
import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.job.columns import Column
from trainer.job.serving import KEY, ServingSpec

URL = "http://localhost:8501/v1/models/model:predict"
LONGEST_EXAMPLE = 4096  # bytes that are shown in a command

Signatures = Mapping[str, Collection[str]]  # signature -> its inputs


@dataclass(frozen=True)
class Request:
    """Some rows: as a client's JSON has them, as lines of CSV, as serialized tf.Examples."""

    instances: Sequence[Mapping[str, Any]]
    lines: Sequence[str]
    examples: Sequence[bytes]


def write_readme(spec: ServingSpec, request: Request, signatures: Signatures) -> str:
    """The whole text. Commands that need a row are left out where none is known or the shell tools cannot take it."""
    parts = [
        _head(signatures),
        _takes(spec, signatures),
        _gives(spec, signatures),
        _rest(request),
        _python(request),
        _command_line(request),
        _batch(),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _head(signatures: Signatures) -> str:
    lines = ["# A model, ready to serve", "", "This folder is a TensorFlow SavedModel. Its signatures:", ""]
    known = {
        "serving_default": "takes the columns by name: what a row of JSON sends",
        "examples": "takes serialized tf.Examples as `examples` (string, [batch])",
        "csv": "takes lines as `csv` (string, [batch]): the columns in the order below, quoted where needed",
    }
    names = [*(name for name in known if name in signatures), *sorted(set(signatures) - set(known))]
    lines += [f"- `{name}`" + (f" {known[name]}" if name in known else "") for name in names]
    return "\n".join(lines)


def _takes(spec: ServingSpec, signatures: Signatures) -> str:
    lines = ["## What it takes", "", "| column | kind | in each row | where it is missing |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(name)} | {each.kind} | {_size(each)} | {_missing(each)} |" for name, each in spec.features.items()
    ]
    return "\n".join([*lines, *(_key(spec, signatures) if has_key(spec, signatures) else [])])


def _key(spec: ServingSpec, signatures: Signatures) -> list[str]:
    """The truth about an input that is optional: each caller has its own idea of that."""
    lines = ["", f"`{KEY}` (string, [batch]) is an input of every signature and comes out as it went in."]
    if "examples" in signatures:
        lines.append(f"Where it is empty, a tf.Example may have one as its feature `{spec.key_feature}`.")
    if "csv" in signatures:
        lines.append("Where it is empty, a line may have one as a first field, one more than there are columns.")
    return [
        *lines,
        "",
        "Over gRPC, TensorFlow Serving lets a request leave this input out, as the signatures hold a default for it.",
        'Its REST API may insist on every input of a row: send `"key": ""` there. In Python, `tf.saved_model.load`',
        "knows no defaults: pass an empty tensor.",
    ]


def _gives(spec: ServingSpec, signatures: Signatures) -> str:
    lines = ["## What it gives", "", "| output | what |", "|---|---|"]
    for output in spec.outputs:
        lines.append(f"| {_cell(output.name)} | what the model returns |")
        if output.classes:
            count = f"[batch, {len(output.classes)}]"
            lines.append(f"| {_cell(output.class_output)} | the most likely class (string, [batch]) |")
            lines.append(f"| {_cell(output.classes_output)} | the names of all classes (string, {count}) |")
            lines.append(f"| {_cell(output.scores_output)} | their probabilities in this order (float32, {count}) |")
    if has_key(spec, signatures):
        lines.append(f"| `{KEY}` | the key |")
    return "\n".join(lines)


def _rest(request: Request) -> str:
    lines = [
        "## TensorFlow Serving",
        "",
        "In this folder, a server for it (the `1` is a version; any number will do):",
        "",
        *_code("sh", ['docker run --rm -p 8501:8501 -v "$PWD:/models/model/1:ro" tensorflow/serving']),
    ]
    commands = list(_posts(request))
    return "\n".join(
        [*lines, "", "and from another terminal, in this folder too:", "", *_code("sh", commands)]
        if commands
        else lines
    )


def _posts(request: Request) -> Iterator[str]:
    if request.instances:
        yield f"curl -d @request.json {URL}"
    if request.lines:
        yield f"curl -d {_body('csv', [{'csv': line, KEY: ''} for line in request.lines])} {URL}"
    short = [each for each in request.examples[:1] if len(each) <= LONGEST_EXAMPLE]
    if short:
        rows = [{"examples": {"b64": base64.b64encode(each).decode()}, KEY: ""} for each in short]
        yield f"curl -d {_body('examples', rows)} {URL}"


def _python(request: Request) -> str:
    if not request.instances:
        return ""
    code = [
        "import json",
        "import tensorflow as tf",
        "",
        'signatures = tf.saved_model.load(".").signatures',
        'serve = signatures["serving_default"]',
        'rows = json.load(open("request.json"))["instances"]',
        "takes = serve.structured_input_signature[1]",
        "print(serve(**{name: tf.constant([row[name] for row in rows], takes[name].dtype) for name in takes}))",
    ]
    if request.lines:
        code += [
            "",
            'lines = open("request.csv", newline="").read().split("\\n")[:-1]',
            'print(signatures["csv"](csv=tf.constant(lines), key=tf.constant([], tf.string)))',
        ]
    return "\n".join(["## Python", "", "No code of the trainer is needed.", "", *_code("python", code)])


def _command_line(request: Request) -> str:
    commands = ["saved_model_cli show --all --dir .", *_runs(request)]
    return "\n".join(
        ["## Command line", "", "Comes with TensorFlow; run it in this folder.", "", *_code("sh", commands)]
    )


def _runs(request: Request) -> Iterator[str]:
    """`run` splits what it is given at semicolons, and reads it as Python literals."""
    run = "saved_model_cli run --dir . --tag_set serve --signature_def"
    row = next((row for row in request.instances if _is_literal(row)), None)
    if row is not None:
        inputs = ";".join(f"{name}={[value]!r}" for name, value in row.items())
        yield f"{run} serving_default --input_exprs {shlex.quote(inputs)}"
    line = next((line for line in request.lines if ";" not in line), None)
    if line is not None:
        yield f"{run} csv --input_exprs {shlex.quote(f'csv={[line]!r}')}"


def _is_literal(row: Mapping[str, Any]) -> bool:
    written = repr(list(row.values()))
    try:
        ast.literal_eval(written)  # nan and inf are none
    except ValueError:
        return False
    return ";" not in written and "{" not in written and not any(mark in name for name in row for mark in ";=")


def _batch() -> str:
    command = "python -m trainer.predict --export=. --files='data/*.csv' --output=predictions"
    return "\n".join(
        [
            "## Many rows",
            "",
            "With the trainer installed, for files like those it was trained on:",
            "",
            *_code("sh", [command]),
        ]
    )


def has_key(spec: ServingSpec, signatures: Signatures) -> bool:
    """Whether the key is an input; a receiver of the user's own has none, or means another thing by it."""
    return KEY not in spec.features and all(KEY in inputs for inputs in signatures.values())


def _body(signature: str, instances: Sequence[Mapping[str, Any]]) -> str:
    return shlex.quote(json.dumps({"signature_name": signature, "instances": instances}, ensure_ascii=False))


def _code(language: str, lines: Sequence[str]) -> list[str]:
    return [f"```{language}", *lines, "```"]


def _cell(name: str | None) -> str:
    return "`" + str(name).replace("|", "\\|") + "`"


def _size(column: Column) -> str:
    return (
        "one value" if not column.shape else " x ".join("any" if size is None else str(size) for size in column.shape)
    )


def _missing(column: Column) -> str:
    if column.default is not None:
        return f"counts as {json.dumps(column.default, ensure_ascii=False)} in `csv` and `examples`"
    return "empty text in `csv`; else an error" if column.kind == "string" else "an error"

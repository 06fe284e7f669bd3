"""What a client knows of an export: TensorFlow and the folder. Run as a script, far from this package.

    python export_client.py EXPORT < questions.json > answers.json

A question is {"signature": ..., "feeds": {input: values}}; with "session" it goes through the loader of TensorFlow 1,
where an input that is left out is not fed. tf.Examples are written as {feature: values}. An answer has the outputs, or
the kind of the error.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import tensorflow as tf


def ask(signatures: Any, question: dict[str, Any]) -> dict[str, Any]:
    """Through tf.saved_model.load: every input has to be given."""
    run = signatures[question["signature"]]
    wanted = run.structured_input_signature[1]
    feeds = {name: tf.constant(plain(values), wanted[name].dtype) for name, values in question["feeds"].items()}
    return {name: value.numpy() for name, value in run(**feeds).items()}


def ask_session(export: str, question: dict[str, Any]) -> dict[str, Any]:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], export)
        signature = graph.signature_def[question["signature"]]
        feeds = {signature.inputs[name].name: plain(values) for name, values in question["feeds"].items()}
        found: dict[str, Any] = session.run({name: each.name for name, each in signature.outputs.items()}, feeds)
        return found


def plain(values: list[Any]) -> list[Any]:
    return [example(each) if isinstance(each, dict) else each for each in values]


def example(features: dict[str, list[Any]]) -> bytes:
    made = tf.train.Example()
    for name, values in features.items():
        feature = made.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        else:
            (feature.int64_list if isinstance(values[0], int) else feature.float_list).value.extend(values)
    return bytes(made.SerializeToString())


def text(value: Any) -> Any:
    if isinstance(value, list):
        return [text(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def main() -> None:
    export, questions, answers = sys.argv[1], json.load(sys.stdin), []
    signatures = tf.saved_model.load(export).signatures
    for question in questions:
        try:
            found = ask_session(export, question) if question.get("session") else ask(signatures, question)
            answers.append({name: text(value.tolist()) for name, value in found.items()})
        except (tf.errors.OpError, KeyError) as error:
            answers.append({"error": type(error).__name__})
    ours = sorted(name for name in sys.modules if name.split(".")[0] == "trainer")
    json.dump({"answers": answers, "ours": ours, "signatures": sorted(signatures)}, sys.stdout)


if __name__ == "__main__":
    main()

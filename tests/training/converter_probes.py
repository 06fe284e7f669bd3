"""What the converter promises beyond one training: checkpoints, resuming, strategies, exports."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import assert_same, build, collector, data, one_device, run_config, sequences, weights
from trainer.training.converter import convert, fresh_session
from trainer.training.fingerprint import describe_model, difference

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()


@probe
def checkpoint_limit(folder: str) -> None:
    convert(build(), folder, run_config(keep_checkpoint_max=2, save_checkpoints_steps=2)).train(data, steps=10)
    steps = sorted(
        int(path.rpartition("-")[2].split(".")[0]) for path in tf.io.gfile.glob(f"{folder}/model.ckpt-*.index")
    )
    assert steps == [8, 10]


@probe
def extra_step(folder: str) -> None:
    first = convert(build(), folder, run_config())
    first.train(data, max_steps=5)
    before = weights(first)
    again = convert(build(), folder, run_config())
    again.train(data, max_steps=5)
    assert again.get_variable_value("global_step") == 5
    assert_same(weights(again), before)


@probe
def other_width(folder: str) -> None:
    model = build(units=3)
    narrow = describe_model(model)
    convert(model, folder, run_config()).train(data, steps=1)
    model = build(units=4)
    assert "the layer dense's units was 3 and is now 4" in difference(narrow, describe_model(model))
    with pytest.raises(Exception, match="shape"):
        convert(model, folder, run_config()).train(data, steps=1)


@probe
def batch_norm_strategy(folder: str) -> None:
    alone, spread = convert(build(), f"{folder}/a", run_config()), convert(build(), f"{folder}/b", one_device())
    for estimator in (alone, spread):
        estimator.train(data, steps=10)
    assert_same(weights(alone), weights(spread))


@probe
def object_format_refusals(folder: str) -> None:
    fresh_session(1)
    recurrent = layers.LSTM(3, stateful=True, batch_input_shape=(8, 7, 4))
    model = lab.sequential(recurrent, layers.Dense(1))
    plain = tf.keras.estimator.model_to_estimator(model, model_dir=f"{folder}/plain", config=run_config())
    with pytest.raises(Exception, match="did not contain values for all variables"):
        plain.train(sequences, steps=2)
    fresh_session(1)
    model = lab.sequential(layers.LSTM(3, stateful=True, batch_input_shape=(8, 7, 4)), layers.Dense(1))
    estimator = convert(model, f"{folder}/ours", run_config())
    estimator.train(sequences, steps=2)
    assert estimator.get_variable_value("global_step") == 2


@probe
def stable_names(folder: str) -> None:
    names = [weight.name for weight in build().weights]
    second = lab.dense()  # without a fresh session the count goes on
    assert not {weight.name for weight in second.weights} <= set(names)
    assert [weight.name for weight in build().weights] == names


@probe
def the_same_seed_gives_the_same_model(folder: str) -> None:
    one, same, other = (describe_model(build(seed=seed)) for seed in (1, 1, 2))
    assert difference(one, same) == []
    assert difference(one, other)[0].startswith("the model's initial weights differ (dense/kernel")


@probe
def stale_first_weights(folder: str) -> None:
    convert(build(seed=1), folder, run_config())
    model = build(seed=2)
    want = model.evaluate(data(), verbose=0, return_dict=True)
    model = build(seed=2)
    have = convert(model, folder, run_config()).evaluate(data)
    assert {key: have[key] for key in want} == pytest.approx(want, rel=1e-5)


@probe
def half_written_first_weights(folder: str) -> None:
    convert(build(), folder, run_config())
    keep = f"{folder}/keras/mine.txt"
    with open(keep, "w") as stream:
        stream.write("not the converter's")
    want = weights(convert(build(), f"{folder}/other", run_config()).train(data, steps=3))
    for damage in (cut, lose_the_index, leave_a_temporary_folder):
        damage(f"{folder}/keras")
        assert_same(weights(convert(build(), folder, run_config()).train(data, steps=3)), want)
        for path in [*tf.io.gfile.glob(f"{folder}/model.ckpt*"), f"{folder}/checkpoint"]:
            os.remove(path)
    assert os.path.exists(keep)


def cut(folder: str) -> None:
    path = f"{folder}/keras_model.ckpt.data-00000-of-00001"
    os.truncate(path, os.path.getsize(path) // 2)


def lose_the_index(folder: str) -> None:
    os.remove(f"{folder}/keras_model.ckpt.index")
    with open(f"{folder}/checkpoint", "w") as stream:
        stream.write('model_checkpoint_path: "keras_')


def leave_a_temporary_folder(folder: str) -> None:
    os.remove(f"{folder}/checkpoint")
    os.makedirs(f"{folder}/keras_model.ckpt_temp/part-00000-of-00001")


@probe
def going_on_is_as_if_never_stopped(folder: str) -> None:
    straight = convert(build(), f"{folder}/a", run_config()).train(data, steps=10)
    convert(build(), f"{folder}/b", run_config()).train(data, steps=5)
    tf.io.gfile.rmtree(f"{folder}/b/keras")  # nobody reads the first weights now
    resumed = convert(build(), f"{folder}/b", run_config()).train(lambda: data(skip=5), steps=5)
    assert resumed.get_variable_value("global_step") == 10
    assert_same(weights(resumed), weights(straight))
    slots = [name for name in straight.get_variable_names() if name.startswith("training/")]
    assert len(slots) > 2 * 6  # two for each of six trainable weights, and the rate
    for name in slots:
        np.testing.assert_allclose(resumed.get_variable_value(name), straight.get_variable_value(name), atol=1e-6)


@probe
def evaluation_before_the_first_step(folder: str) -> None:
    model = build()
    model.fit(data(), verbose=0)  # moves the statistics
    want, start = model.evaluate(data(), verbose=0, return_dict=True), model.get_weights()
    model = build()
    model.set_weights(start)
    have = convert(model, folder, run_config()).evaluate(data)
    assert {key: have[key] for key in want} == pytest.approx(want, rel=1e-5)


@probe
def train_and_evaluate_with_an_export(folder: str) -> None:
    model = build()
    model.fit(data(), verbose=0)
    want = model.predict(lab.ROWS, verbose=0)
    model = build()
    estimator = convert(model, folder, run_config(save_checkpoints_steps=5))

    def receiver() -> Any:
        row = tf.compat.v1.placeholder(tf.float32, (None, 6), "row")
        return tf.estimator.export.ServingInputReceiver({"dense_input": row}, {"row": row})

    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(lambda: data().map(lambda x, y: ({"dense_input": x}, y)), max_steps=10),
        tf.estimator.EvalSpec(data, None, exporters=[tf.estimator.FinalExporter("final", receiver)], throttle_secs=0),
    )
    (path,) = tf.io.gfile.glob(f"{folder}/export/final/*")
    served = tf.saved_model.load(path).signatures["serving_default"](row=tf.constant(lab.ROWS))
    np.testing.assert_allclose(next(iter(served.values())), want, atol=1e-5)


@probe
def an_optimizer_of_its_own_under_a_strategy(folder: str) -> None:
    found = []
    for number, config in enumerate((run_config(), one_device())):
        model = build(optimizer=keras.optimizers.Lion(0.01))
        found.append(weights(convert(model, f"{folder}/{number}", config).train(data, steps=10)))
    assert_same(*found)


@probe
def a_worker_leaves_the_first_weights_to_the_chief(folder: str) -> None:
    convert(build(), folder, run_config())
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"chief": ["localhost:1"], "worker": ["localhost:2"]}, "task": {"type": "worker", "index": 0}}
    )
    try:
        convert(build(seed=2), folder, run_config())
    finally:
        del os.environ["TF_CONFIG"]
    first = tf.train.load_checkpoint(f"{folder}/keras/keras_model.ckpt")
    np.testing.assert_allclose(first.get_tensor("dense/kernel"), build().layers[0].kernel)

"""Files as people write them at first: `import keras`, a model, `model.fit`; trained as they are."""

from __future__ import annotations

import pathlib

import pytest

from tests.runner import assert_finished, read_evaluations, read_json, run, write_csv, write_model

SEQUENTIAL = """
    import keras
    import numpy as np

    x_train, y_train = np.zeros([50, 1]), np.zeros([50, 1])


    def build_model():
        first = keras.layers.Dense(8, activation="tanh", input_shape=(1,), name="size")
        model = keras.Sequential([first, keras.layers.Dense(1, name="price")])
        model.compile("adam", "mse", metrics=["mae"])
        return model


    model = build_model()
    history = model.fit(x_train, y_train, epochs=1000000)
    print("trained at the top level", history.history["loss"])
    model.save("somewhere")

    if __name__ == "__main__":
        model.fit(x_train, y_train, epochs=1000000)
        print(model.evaluate(x_train, y_train))
"""

WIDE = """
    import keras
    from keras.layers import Dense


    def build_model():
        model = keras.models.Sequential()
        model.add(Dense(8, activation="relu", input_dim=3, name="pixels"))
        model.add(Dense(1, name="depth"))
        model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.05), loss="mae")
        return model


    if __name__ == "__main__":
        import does_not_exist

        build_model().fit(does_not_exist.x, does_not_exist.y)
"""

FUNCTIONAL = """
    from keras import Input, Model, layers


    def build_model(units: int = 4):
        size, age = Input(shape=(1,), name="size"), Input(shape=(), name="age")
        both = layers.concatenate([size, layers.Reshape((1,))(age)])
        output = layers.Dense(1, name="price")(layers.Dense(units, activation="relu")(both))
        model = Model([size, age], output)
        model.compile("rmsprop", "mse")
        return model


    build_model().fit({"size": [[1.0]], "age": [1.0]}, [[1.0]], epochs=1000000)
"""

CASES = {
    "sequential": (SEQUENTIAL, ("size",), "price"),
    "one wide input": (WIDE, ("pixels_0", "pixels_1", "pixels_2"), "depth"),
    "functional": (FUNCTIONAL, ("age", "note", "size"), "price"),
}


@pytest.mark.parametrize(("source", "columns", "label"), CASES.values(), ids=CASES)
def test_it_trains_from_a_csv_whose_columns_name_its_layers(
    source: str, columns: tuple[str, ...], label: str, tmp_path: pathlib.Path
) -> None:
    write_model(tmp_path / "mine.py", source)
    write_csv(tmp_path / "data.csv", columns=columns, label=label)
    done = run(tmp_path, ["--model=mine.py", "--train-files=data.csv", "--batch-size=20", "--epochs=3"]).ok()
    job_dir = tmp_path / "runs" / "mine"
    result = assert_finished(job_dir, 30)
    assert result["evaluated_on"] == "train_files"
    evaluations = read_evaluations(job_dir)
    assert evaluations[30]["loss"] < evaluations[10]["loss"]
    assert "trained at the top level" not in done.out
    assert not (tmp_path / "somewhere").exists()
    assert "no --eval-files" in done.err, "that it was evaluated on its training data has to be said"
    request = read_json(tmp_path / result["exports"]["final"] / "assets.extra" / "verification_rows.json")["request"]
    assert set(request) == set(columns) - {"note"}

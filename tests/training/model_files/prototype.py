"""A prototype as people write them: data, model, fit, plots; inside and outside the main guard."""

import argparse

import keras
import numpy as np
from keras.layers import Dense, Dropout
from keras.models import Sequential

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=2)
args = parser.parse_args()

x_train = np.random.rand(64, 4)
y_train = np.random.randint(0, 3, 64)


def build_model(units: int = 8, dropout: float = 0.1):
    model = Sequential()
    model.add(Dense(units, activation="relu", input_shape=(4,), name="petals"))
    model.add(Dropout(dropout))
    model.add(Dense(3, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    return model


model = build_model()
history = model.fit(x_train, y_train, epochs=args.rounds, batch_size=16)
best = max(history.history["accuracy"])
print(f"best accuracy: {best:.3f}")
score = model.evaluate(x_train, y_train, verbose=0)
print("Test loss:", score[0])
loss, accuracy = score
print(f"accuracy {accuracy:.2f}")
classes = np.argmax(model.predict(x_train), axis=1)
right = (classes == y_train).mean()
for _ in range(3):
    model.train_on_batch(x_train, y_train)
model.save("prototype_ran.h5")
assert keras.models.load_model("prototype_ran.h5") is not None  # is not there
LAST_LINE = "reached"

if __name__ == "__main__":
    model.fit(x_train, y_train, epochs=50)
    model.save("prototype_ran.keras")

"""The serving graph's head: one graph with three ways in, each with a key that comes out as it went in.

    serving_default   the raw columns by name
    examples          serialized tf.Examples
    csv               lines: the columns in order, and a key before them where a line has one field more

They are feeds of one graph: a column is a placeholder that, left alone, is what `examples` and `csv` hold. Of those two
one is always empty. `key` may be left out, or be empty: it is then what the examples or lines name, else empty text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from trainer.job.columns import Column, Layout
from trainer.job.serving import KEY, key_feature
from trainer.training.csv_reader import CsvReader
from trainer.training.labels import Label
from trainer.training.reader import Reader
from trainer.training.tfrecord_reader import TfrecordReader, decode

KEY_FEATURE = "trainer/key"  # among the model's inputs, until `with_serving_outputs` takes it out
KEYS, KEYS_BESIDE = "key", "key_beside"  # the placeholders, by the names of their operations
SCOPE = "trainer_serving"  # of all operations here: a layer called like one of them would not find its variables
EXAMPLES, CSV = "examples", "csv"
MOST_FIELDS = 4096  # of a CSV line; wider ones are nothing that people write
NO_NUMBER = -(2**63)  # for a key of a tf.Example: that there is none
NOT_ALONE = '"[^"]*"|[^,\\r\\n]'  # all of a line but commas and line breaks outside quotes

Tensors = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Served:
    """What exports have to know of a job's data.

    Attributes:
      columns: what requests have, in the order of a line of CSV.
      key_column, weight_column: in the files, where they have such columns.
      labels: what the model's outputs are compared with, where files say it.
      stored: column or `key` -> its kind in tf.Examples, where that is another than the column's.
      dtypes: of the columns' placeholders, where they are others than the columns' kinds.
    """

    columns: Mapping[str, Column]
    key_column: str | None = None
    weight_column: str | None = None
    labels: tuple[Label, ...] = ()
    stored: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dtypes: Mapping[str, tf.DType] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Column],
        key_column: str | None,
        weight_column: str | None,
        labels: tuple[Label, ...],
        reader: Reader,
    ) -> Served:
        """Of the training files: tf.Examples of the same kind have to work as they are."""
        stored: dict[str, str] = {}
        if isinstance(reader, TfrecordReader):
            found = {name: reader.column(name).kind for name in columns if name in reader.columns}
            stored = {name: kind for name, kind in found.items() if (kind, columns[name].kind) == ("int64", "float32")}
            stored |= {KEY: reader.column(key_column).kind} if key_column else {}
        return cls(dict(columns), key_column, weight_column, labels, stored)


def build_receiver(
    served: Served, to_inputs: Callable[[Tensors], Mapping[str, tf.Tensor]]
) -> tf.estimator.export.ServingInputReceiver:
    """Placeholders for the columns, and the model's inputs that `to_inputs` makes of them.

    Without `examples` where a shape is open, without `csv` where a value is more than a list.
    """
    with tf.name_scope(SCOPE):
        return _build_receiver(served, to_inputs)


def _build_receiver(
    served: Served, to_inputs: Callable[[Tensors], Mapping[str, tf.Tensor]]
) -> tf.estimator.export.ServingInputReceiver:
    columns = served.columns
    ways = {
        EXAMPLES: (has_examples(columns), lambda feed: parse_examples(feed, served)),
        CSV: (has_csv(columns), lambda feed: parse_lines(feed, columns)),
    }
    feeds = {name: _optional(name, tf.constant([], tf.string)) for name, (possible, _) in ways.items() if possible}
    parsed = [ways[name][1](feed) for name, feed in feeds.items()]
    raw = {
        name: _column(name, column, served.dtypes.get(name, tf.as_dtype(column.kind)), [each[name] for each in parsed])
        for name, column in columns.items()
    }
    beside = _optional(KEYS_BESIDE, tf.constant([], tf.string))
    inside = tf.concat([tf.constant([], tf.string), *(each[KEY] for each in parsed)], 0)
    key = _optional(KEYS, _preferred(beside, inside))
    checked, keys = _one_key_a_row(raw, key)
    features = {**to_inputs(checked), KEY_FEATURE: keys}
    others = {name: {name: feed, KEY: beside} for name, feed in feeds.items()}
    return tf.estimator.export.ServingInputReceiver(features, {**raw, KEY: key}, others or None)


def has_examples(columns: Mapping[str, Column]) -> bool:
    """Whether tf.Examples can hold these columns: they know no open shapes."""
    return all(None not in column.shape for column in columns.values())


def has_csv(columns: Mapping[str, Column]) -> bool:
    """Whether a line can hold these columns: single values and lists of a known length."""
    flat = all(len(column.shape) < 2 and None not in column.shape for column in columns.values())
    return flat and sum(_width(column) for column in columns.values()) < MOST_FIELDS


def parse_examples(serialized: tf.Tensor, served: Served) -> dict[str, tf.Tensor]:
    """Serialized tf.Examples (string, [batch]) -> columns ([batch, *shape]) and `key` (string, [batch])."""
    name, kind = key_feature(served.key_column, served.columns), served.stored.get(KEY, "string")
    key = Column(kind, default="" if kind == "string" else NO_NUMBER)
    columns = decode(serialized, {**served.columns, name: key}, served.stored)
    return {KEY: _key_text(columns.pop(name)), **columns}


def parse_lines(lines: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
    """Lines of CSV (string, [batch]) -> columns ([batch, *shape]) and `key` (string, [batch]).

    Read like the files of a job. A line break at the end counts for nothing, one elsewhere outside quotes is an error,
    as is any other number of fields than the columns', or one more with the key in front.
    """
    fields = {KEY: Column("string")}
    places: dict[str, list[str]] = {}
    for name, column in columns.items():
        places[name] = [f"{name} {place}" for place in range(_width(column))]
        fields |= {place: Column(column.kind, (), column.default) for place in places[name]}
    reader = CsvReader((), tuple(fields), Layout("csv", tuple(fields), ","))
    found = reader.parse(_with_key(lines, len(fields) - 1), fields)
    values = {
        name: tf.stack([found[each] for each in places[name]], -1) if column.shape else found[places[name][0]]
        for name, column in columns.items()
    }
    return {**values, KEY: found[KEY]}


def key_as_text(reader: Reader, name: str) -> Column:
    """How to read a key: as it stands in CSV, where 007 is not 7; elsewhere as what it is."""
    kind = "string" if isinstance(reader, CsvReader) else reader.column(name).kind
    return Column(kind, (), "" if kind == "string" else 0)


def finish_signatures(export: str) -> dict[str, tuple[str, ...]]:
    """Give the other ways in their short names, and say that a request may leave the key out; signatures -> inputs.

    The export is one that is being made, on this machine.

    Estimator calls them `examples:serving_default`. TensorFlow Serving takes the inputs that a SignatureDef has
    defaults for as optional; `tf.saved_model.load` does not (TODO b/205015292 in its load_v1_in_v2.py).
    """
    path = f"{export}/saved_model.pb"
    with open(path, "rb") as file:
        model = saved_model_pb2.SavedModel.FromString(file.read())
    ours = {f"{SCOPE}/{KEYS}:0", f"{SCOPE}/{KEYS_BESIDE}:0"}
    for graph in model.meta_graphs:
        signatures = graph.signature_def
        for name in [name for name in signatures if ":" in name]:
            signatures[name.partition(":")[0]].CopyFrom(signatures[name])
            del signatures[name]
        for signature in signatures.values():
            if KEY in signature.inputs and signature.inputs[KEY].name in ours:
                signature.defaults[KEY].CopyFrom(tf.make_tensor_proto([], tf.string, [0]))
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {name: tuple(each.inputs) for graph in model.meta_graphs for name, each in graph.signature_def.items()}


def _with_key(lines: tf.Tensor, fields: int) -> tf.Tensor:
    """Put an empty key in front of the lines that have none. Fields are counted where quoted parts are left out."""
    lines = tf.strings.regex_replace(lines, "[\\r\\n]+$", "")
    commas = tf.strings.regex_replace(lines, NOT_ALONE, "")
    count = tf.strings.length(commas) + 1
    # what is not UTF-8 stays behind, as regular expressions do not see it
    fits = tf.strings.regex_full_match(commas, ",*") & (tf.equal(count, fields) | tf.equal(count, fields + 1))
    with tf.control_dependencies([_assert(fits, f"a line of csv needs {fields} fields, or {fields + 1} with its key")]):
        return tf.where(tf.equal(count, fields), tf.strings.join([",", lines]), lines)


def _preferred(beside: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """The keys sent beside examples or lines, and where such a one is empty, that in the example or line."""
    rows = tf.maximum(tf.size(beside), tf.size(inside))
    beside, inside = _filled(beside, rows), _filled(inside, rows)
    same = _assert(tf.equal(tf.size(beside), tf.size(inside)), "one key for each row is needed")
    with tf.control_dependencies([same]):
        return tf.where(tf.equal(beside, ""), inside, beside)


def _one_key_a_row(raw: Tensors, key: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The columns as they are and a key for each row; columns of different lengths would broadcast silently."""
    sizes = tf.stack([tf.shape(each)[0] for each in raw.values()])
    keys = _filled(key, sizes[0])
    same = _assert(tf.equal(sizes, tf.size(keys)), "the inputs differ in their number of rows")
    with tf.control_dependencies([same]):
        return {name: tf.identity(each) for name, each in raw.items()}, tf.identity(keys)


def _filled(keys: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """So many empty keys in the place of none."""
    return tf.concat([keys, tf.fill([tf.where(tf.equal(tf.size(keys), 0), rows, 0)], "")], 0)


def _assert(conditions: tf.Tensor, words: str) -> tf.Operation:
    return tf.raw_ops.Assert(condition=tf.reduce_all(conditions), data=[tf.constant(words)])


def _key_text(key: tf.Tensor) -> tf.Tensor:
    """A key of an example as text; a number that is left out is empty text."""
    return key if key.dtype == tf.string else tf.where(tf.equal(key, NO_NUMBER), "", tf.strings.as_string(key))


def _column(name: str, column: Column, dtype: tf.DType, parsed: list[tf.Tensor]) -> tf.Tensor:
    shape = [None, *column.shape]
    if not parsed:
        return tf.compat.v1.placeholder(dtype, shape, operation_name(name))
    return _optional(operation_name(name), tf.concat([tf.cast(each, dtype) for each in parsed], 0), shape)


def _optional(name: str, default: tf.Tensor, shape: Sequence[int | None] = (None,)) -> tf.Tensor:
    return tf.compat.v1.placeholder_with_default(default, shape, name)


def operation_name(column: str) -> str:
    """A name TensorFlow allows, whatever the column is called."""
    return "column_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in column)


def kind_of(dtype: str) -> str:
    """The kind of column that holds values of a dtype."""
    if dtype == "string":
        return "string"
    return "int64" if "int" in dtype or dtype == "bool" else "float32"


def _width(column: Column) -> int:
    return int(np.prod(column.shape, dtype=np.int64))

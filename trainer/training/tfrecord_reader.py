"""TFRecord files of tf.Example protocol buffers.

The frame of a record: length (8 bytes), its checksum (4), the data, their checksum (4), little endian
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError, UsageError
from trainer.training.raw_files import CHUNK_BYTES, compression, open_bytes, refuse_empty
from trainer.training.reader import WANTED, BadValue, Reader, Scan

HEAD_BYTES, TAIL_BYTES = 12, 4
LARGEST_BYTES = 2**31  # of a protocol buffer
STORED = {"int64": "whole numbers", "float32": "fractions", "string": "bytes"}
LISTS = {"int64_list": "int64", "float_list": "float32", "bytes_list": "string"}


@dataclasses.dataclass(frozen=True)
class TfrecordReader(Reader):
    """A set of TFRecord files; the features of the first records are the columns."""

    unit = "record"

    @classmethod
    def open(cls, files: tuple[str, ...], layout: Layout) -> TfrecordReader:
        """Find the features of the first records. Raises DataError, or UsageError for flags that only CSV has."""
        if layout.columns or layout.delimiter != "auto":
            flag = "--columns" if layout.columns else "--delimiter"
            raise UsageError(f"{flag} is for CSV files, but {files[0]} holds TFRecords: leave it out.")
        for path in files:
            refuse_empty(path)
        reader = cls(files, (), layout)
        names = {name for features in reader._head for name in features}
        return dataclasses.replace(reader, columns=tuple(sorted(names)))

    def column(self, name: str) -> Column:
        """Kind and size of a feature in the first records."""
        found = [features[name] for features in self._head if features.get(name) is not None]
        kinds = [kind for kind, values in found if kind and values]
        sizes = [len(values) for kind, values in found if kind and values]
        if not kinds:
            return Column("string")
        size = max(sizes, key=sizes.count)
        return Column(max(kinds, key=kinds.count), () if size == 1 else (size,))

    def raw_rows(self, path: str) -> Iterator[tuple[int, bytes]]:
        """See Reader; checksums are compared."""
        for number, (data, crc) in enumerate(_frames(path), start=1):
            if _masked(google_crc32c.value(data)) != crc:
                raise DataError(_damaged(path, number))
            yield number, data

    def read(self, raw: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
        """See Reader."""
        features = _features(raw)
        return {
            name: _value(name, features.get(name), self._stored(name, column), column)
            for name, column in columns.items()
        }

    def records(self, path: str | tf.Tensor) -> tf.data.Dataset:
        """See Reader."""
        return tf.data.TFRecordDataset(path, compression_type=self._compression(path), buffer_size=CHUNK_BYTES)

    def parse(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """See Reader; whole numbers are read as what they are stored as, and then made what is wanted."""
        with tf.control_dependencies([_insist(records)]):
            records = tf.identity(records)
        return decode(records, columns, {name: self._stored(name, column) for name, column in columns.items()})

    def good(self, records: tf.Tensor, columns: Mapping[str, Column]) -> tf.Tensor:
        """See Reader."""

        def look(batch: Any) -> Any:
            return np.asarray([self._is_good(raw, columns) for raw in batch], np.bool_)

        return tf.ensure_shape(tf.numpy_function(look, [records], tf.bool), [None])

    def scan(self, path: str) -> Scan:
        """Walk along the frames; their content is checked where it is read."""
        rows = size = 0
        for data, _ in _frames(path):
            rows, size = rows + 1, size + len(data)
        return Scan(rows, size)

    @functools.cached_property
    def _head(self) -> list[dict[str, tuple[str, Any]]]:
        return self._readable_head(_features)

    @functools.cached_property
    def _compression(self) -> Any:
        return compression(self.files)

    def _stored(self, name: str, column: Column) -> str:
        """The kind that the records have: a whole number may feed what takes fractions."""
        kind = self._kinds.get(name, column.kind)
        return kind if (kind, column.kind) == ("int64", "float32") else column.kind

    @functools.cached_property
    def _kinds(self) -> dict[str, str]:
        return {name: self.column(name).kind for name in self.columns}

    def _is_good(self, raw: bytes, columns: Mapping[str, Column]) -> bool:
        try:
            self.read(raw, columns)
        except BadValue:
            return False
        return True


def decode(examples: tf.Tensor, columns: Mapping[str, Column], stored: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Serialized tf.Examples (string, [batch]) -> columns ([batch, *shape]).

    `stored` says the kind that an example has of a column, where it is another. A value that is not there, or is there
    as an empty list, is the column's default; where it has none, or for a list of another length, an
    InvalidArgumentError is raised at run time.
    """
    specs = {name: _spec(stored.get(name, column.kind), column) for name, column in columns.items()}
    return _dense(tf.io.parse_example(examples, specs), columns)


def _frames(path: str) -> Iterator[tuple[bytes, int]]:
    """Data and checksum of each record. Raises DataError where the file is damaged or breaks off."""
    with open_bytes(path) as file:
        for number in itertools.count(1):
            head = file.read(HEAD_BYTES)
            if not head:
                return
            size, crc = struct.unpack("<QI", head) if len(head) == HEAD_BYTES else (0, -1)
            if number > 1 and len(head) < HEAD_BYTES:
                raise DataError(_cut_off(path, number))
            if _masked(google_crc32c.value(head[:8])) != crc:
                raise DataError(_not_records(path) if number == 1 else _damaged(path, number))
            yield _data(path, file, number, size)


def _data(path: str, file: BinaryIO, number: int, size: int) -> tuple[bytes, int]:
    data = file.read(min(size, LARGEST_BYTES))
    tail = file.read(TAIL_BYTES)
    if len(data) < size or len(tail) < TAIL_BYTES:
        raise DataError(_cut_off(path, number))
    return data, struct.unpack("<I", tail)[0]


def _masked(crc: int) -> int:
    """A checksum as the format stores it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _not_records(path: str) -> str:
    return f"{path} is no TFRecord file: say what it is with --format, or write it with tf.io.TFRecordWriter."


def _cut_off(path: str, number: int) -> str:
    return f"{path} is cut off: record {number} is not whole; copy or write the file again."


def _damaged(path: str, number: int) -> str:
    return f"{path}, record {number}: its checksum is wrong, the file is damaged: copy or write it again."


def _features(raw: bytes) -> dict[str, tuple[str, Any]]:
    """Feature -> kind and values; the kind is empty for one that is there without values. Raises BadValue."""
    try:
        example = tf.train.Example.FromString(raw)
    except DecodeError:
        raise BadValue(None, "this is no tf.Example: write serialized tf.train.Example messages") from None
    found = {}
    for name, feature in example.features.feature.items():
        which = feature.WhichOneof("kind")
        found[name] = (LISTS[which], getattr(feature, which).value) if which else ("", ())
    return found


def _value(name: str, feature: tuple[str, Any] | None, stored: str, column: Column) -> Any:
    kind, values = feature or ("", ())
    size = _size(column)
    if kind and kind != stored:
        raise BadValue(name, f"found {STORED[kind]} where {WANTED[stored]} is needed")
    if not len(values) and column.default is not None:
        if not column.shape:
            return column.default
        filled = np.empty(column.shape, object)
        filled.fill(column.default)  # np.full would take the text "\0" for an empty one
        return filled.tolist()
    if len(values) != size:
        needed = "1 is" if size == 1 else f"{size} are"
        raise BadValue(name, f"found {_counted(len(values))} where {needed} needed")
    plain = [_decoded(value) for value in values]
    return np.asarray(plain, object).reshape(column.shape).tolist() if column.shape else plain[0]


def _decoded(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value  # an image, say


def _insist(records: tf.Tensor) -> tf.Operation:
    """Stop at what is no protocol buffer: TensorFlow's parser for examples takes some of it for one without features,
    and has the bytes of the rest in the message of its error, where they may be no text.
    """

    def walk() -> tf.Operation:
        sizes = tf.io.decode_proto(records, "tensorflow.Example", [], [], sanitize=False).sizes
        return tf.debugging.Assert(tf.shape(sizes)[0] > 0, ["no record"])  # without it, nobody would need the sizes

    return tf.cond(tf.size(records) > 0, walk, tf.no_op)


def _spec(kind: str, column: Column) -> Any:
    """Where a value may be missing, it may also be there as an empty list, which FixedLenFeature refuses."""
    return tf.io.FixedLenFeature(column.shape, kind) if column.default is None else tf.io.RaggedFeature(kind)


def _dense(parsed: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
    """Put defaults where a list is empty, and stop at one that is not as long as it should be."""
    filled = {name: column for name, column in columns.items() if column.default is not None}
    sizes = {name: parsed[name].row_lengths() for name in filled}
    fits = [tf.equal(sizes[name] * (sizes[name] - _size(column)), 0) for name, column in filled.items()]
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.reduce_all(fits), ["another number of values"])] if fits else []
    ):
        return {name: _of_column(parsed[name], column) for name, column in columns.items()}


def _of_column(values: tf.Tensor | tf.RaggedTensor, column: Column) -> tf.Tensor:
    cast = values if values.dtype.name == column.kind else tf.cast(values, column.kind)
    if column.default is None:
        return cast
    default = tf.constant(column.default, column.kind)
    return tf.reshape(cast.to_tensor(default, shape=[None, _size(column)]), [-1, *column.shape])


def _size(column: Column) -> int:
    return int(np.prod(column.shape, dtype=np.int64))


def _counted(values: int) -> str:
    return "nothing" if not values else f"{values} value" + ("" if values == 1 else "s")

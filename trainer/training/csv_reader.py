"""CSV files with a header line: what is in them, and their lines as tensors.

Lines are batched first and parsed after, a whole batch in one call: parsing line by line is about 20 times slower.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from trainer.job.errors import DataError

SAMPLE_ROWS = 1000  # rows read to find out what a column holds, and checked before anything starts
CHUNK_BYTES = 2**20
MOSTLY = 0.9
DEFAULTS: dict[str, list[str]] = {"int64": [], "float32": [], "string": [""]}  # empty: a value is required
# What TensorFlow's parser takes for a number; Python's int() and float() also take 1_000, other digits and Infinity.
NUMBER = {
    "int64": re.compile(r"\s*(-?[0-9]+)\s*", re.ASCII),
    "float32": re.compile(r"\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|nan)\s*", re.ASCII | re.IGNORECASE),
}
FLOAT_BYTES = 32  # TensorFlow refuses a longer text for a number (kFastToBufferSize in its numbers.cc)
FIELD = r'("[^"]*(?:""[^"]*)*"|[^",]*)'
FIELDS = re.compile(f"(?:^|,){FIELD}")
LINE = re.compile(f"{FIELD}(?:,{FIELD})*")
WANTED = {"int64": "a whole number", "float32": "a number", "string": "text"}


@dataclasses.dataclass(frozen=True)
class CsvReader:
    """A set of CSV files with the same header."""

    files: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def open(cls, files: Sequence[str]) -> CsvReader:
        """Read and compare the headers.

        Raises:
          DataError: a file is empty, its header names a column twice, or differs from the first file's.
        """
        headers = {path: _read_header(path) for path in files}
        first = files[0]
        for path, header in headers.items():
            if header != headers[first]:
                raise DataError(
                    f"{path} has the columns {', '.join(header)} where {first} has {', '.join(headers[first])}: "
                    "all files of a set need the same header line."
                )
        return cls(tuple(files), headers[first])

    @functools.cached_property
    def rows(self) -> int:
        """Number of examples in all files. Raises DataError for a field that spans lines."""
        return sum(rows for rows, _ in self._scans)

    @functools.cached_property
    def _scans(self) -> tuple[tuple[int, bool], ...]:
        return tuple(_scan(path) for path in self.files)

    @functools.cached_property
    def sample(self) -> tuple[dict[str, str], ...]:
        """The first rows as text, column -> field."""
        rows = itertools.islice(self._rows(), SAMPLE_ROWS)
        return tuple(dict(zip(self.columns, fields, strict=False)) for _, _, fields in rows)

    def kind(self, column: str) -> str:
        """What a column holds by its first rows: int64, float32 or string.

        A few fields that do not fit do not make numbers a text: `check_sample` names them. A single fraction among
        whole numbers makes them float32.
        """
        values = [row[column] for row in self.sample if row.get(column)]
        numbers = [value for value in values if _fits("float32", value)]
        if not values or len(numbers) <= MOSTLY * len(values):
            return "string"
        return "int64" if all(_fits("int64", value) for value in numbers) else "float32"

    def lines(self, files: tf.Tensor | None = None) -> tf.data.Dataset:
        """A Dataset of lines (string, []), headers and blank lines left out.

        Without `files` they come in the order of this set's files; the given ones are read side by side.
        """
        lines = tf.data.Dataset.from_tensor_slices(list(self.files) if files is None else files).interleave(
            lambda path: tf.data.TextLineDataset(path).skip(1),
            cycle_length=1 if files is None else min(len(self.files), 4),
            block_length=64,
        )
        if any(blank for _, blank in self._scans):  # costs a call for each line, so only where it is needed
            lines = lines.filter(lambda line: tf.strings.length(line) > 0)
        return lines

    def parse(self, lines: tf.Tensor, kinds: Mapping[str, str]) -> dict[str, tf.Tensor]:
        """Parse lines (string, [batch]) into the columns of `kinds`, each [batch] of its dtype."""
        wanted = [column for column in self.columns if column in kinds]
        fields = tf.io.decode_csv(
            lines,
            record_defaults=[tf.constant(DEFAULTS[kinds[name]], kinds[name]) for name in wanted],
            select_cols=[self.columns.index(column) for column in wanted],
        )
        return dict(zip(wanted, fields, strict=True))

    def check_sample(self, kinds: Mapping[str, str]) -> None:
        """Check the first rows before anything starts. Raises DataError."""
        self._check(kinds, SAMPLE_ROWS)

    def find_bad_row(self, kinds: Mapping[str, str]) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""
        self._check(kinds, None)

    def find_other_value(self, column: str, known: set[str]) -> None:
        """Look for a label that is none of the known ones. Raises DataError where there is one."""
        index = self.columns.index(column)
        for path, number, fields in self._rows():
            if index < len(fields) and fields[index] not in known:
                if not fields[index]:
                    raise DataError(f"{path}, line {number}, column {column}: found nothing where a label is needed.")
                raise DataError(
                    f"{path}, line {number}, column {column}: found {fields[index]!r}, a label that the training files "
                    "do not have: mend the row, or train on examples of it too."
                )

    def _check(self, kinds: Mapping[str, str], limit: int | None) -> None:
        for checked, (path, number, fields) in enumerate(self._rows()):
            if checked == limit:
                return
            if len(fields) != len(self.columns):
                raise DataError(
                    f"{path}, line {number}: found {len(fields)} fields where the header names {len(self.columns)} "
                    "columns: mend the line, and quote fields that hold commas."
                )
            for column, value in zip(self.columns, fields, strict=True):
                if column in kinds and not _fits(kinds[column], value):
                    found, wanted = f"{value!r}" if value else "nothing", WANTED[kinds[column]]
                    raise DataError(f"{path}, line {number}, column {column}: found {found} where {wanted} is needed.")

    def _rows(self) -> Iterator[tuple[str, int, list[str]]]:
        """File, line number (the header is line 1) and fields of each row that is not blank. Raises DataError."""
        for path in self.files:
            with tf.io.gfile.GFile(path, "rb") as file:
                for number, line in enumerate(file, start=1):
                    if number > 1 and not _is_blank(line):
                        yield path, number, _fields(path, number, line)


def _fits(kind: str, value: str) -> bool:
    if kind == "string":
        return True
    match = NUMBER[kind].fullmatch(value)
    if match is None:
        return False
    return len(value) < FLOAT_BYTES if kind == "float32" else -(2**63) <= int(match[1]) < 2**63


def _is_blank(line: bytes) -> bool:
    """Spaces are no blank: they may be the value of an only column."""
    return not line.strip(b"\r\n")


def _fields(path: str, number: int, line: bytes) -> list[str]:
    """Split a line as TensorFlow does, which drops carriage returns first. Raises DataError."""
    try:
        text = line.replace(b"\r", b"").removesuffix(b"\n").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: this is not UTF-8 text: convert the file, as with iconv -f latin1 -t utf-8."
        ) from error
    if '"' in text and not LINE.fullmatch(text):
        raise DataError(
            f"{path}, line {number}: found a quote in the middle of a field: put the whole field in quotes, and double "
            "those inside it."
        )
    fields = FIELDS.findall(text)
    return [field[1:-1].replace('""', '"') if field.startswith('"') else field for field in fields]


def _read_header(path: str) -> tuple[str, ...]:
    with tf.io.gfile.GFile(path, "rb") as file:
        line = file.readline().removeprefix(codecs.BOM_UTF8)
    header = [] if _is_blank(line) else _fields(path, 1, line)
    if not header:
        raise DataError(f"{path} is empty: its first line has to name the columns.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            f"{path} names the column {twice[0]} twice in its header line: give each column a name of its own."
        )
    return tuple(header)


def _scan(path: str) -> tuple[int, bool]:
    """Number of rows, and whether there are blank lines; fast where no field is quoted and no line blank."""
    newlines, tail, plain = 0, b"", True
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            newlines += chunk.count(b"\n")
            seam = tail + chunk
            plain = plain and b'"' not in chunk and b"\n\n" not in seam and b"\n\r\n" not in seam
            tail = chunk[-2:]
    if not plain:
        return _scan_lines(path)
    return newlines + (not tail.endswith(b"\n")) - 1, False


def _scan_lines(path: str) -> tuple[int, bool]:
    rows, blank = -1, False
    with tf.io.gfile.GFile(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.count(b'"') % 2:
                raise DataError(
                    f"{path}, line {number}: a quoted field goes on in the next line, which is not supported: "
                    "write the data without line breaks inside fields."
                )
            blank = blank or _is_blank(line)
            rows += not _is_blank(line)
    return rows, blank

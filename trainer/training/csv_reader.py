"""CSV files: with a header line, or with the names from --columns; one line an example."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError
from trainer.training.line_reader import NO_LETTERS, NO_UTF8, UTF8, LineReader, first_line, is_blank, refuse_mark, strip
from trainer.training.numbers import BLANKS, PATTERN, fits, is_overflow, problem_of, value_of
from trainer.training.reader import WANTED, BadValue, shown

MOSTLY = 0.9
QUOTE = '"'
NO_CSV = "write the file as CSV in UTF-8, or say what it is with --format"
EMPTY: dict[str, list[str]] = {"int64": [], "float32": [], "string": [""]}  # an empty default: a value is required


@dataclasses.dataclass(frozen=True)
class CsvReader(LineReader):
    """A set of CSV files with the same columns and the same separator."""

    @classmethod
    def open(cls, files: tuple[str, ...], layout: Layout) -> CsvReader:
        """Read and compare the headers.

        Raises:
          DataError: a file is empty, its header names a column twice or differs from the first file's, or --columns
            does not go with the first lines.
        """
        separators = {path: layout.separator_of(path) for path in files}
        other = next((path for path in files if separators[path] != separators[files[0]]), None)
        if other:
            raise DataError(
                f"{other} and {files[0]} have different separators by their names: say one with --delimiter."
            )
        reader = cls(files, (), dataclasses.replace(layout, delimiter=separators[files[0]]))
        headers = {path: reader._read_header(path) for path in files}
        for path, header in headers.items():
            if header != headers[files[0]]:
                raise DataError(
                    f"{path} has the columns {', '.join(header)} where {files[0]} has {', '.join(headers[files[0]])}: "
                    "all files of a set need the same header line."
                )
        return dataclasses.replace(reader, columns=headers[files[0]])

    @property
    def head_lines(self) -> int:  # type: ignore[override]
        """One, unless --columns has said what the header would."""
        return 0 if self.layout.columns else 1

    @property
    def separator(self) -> str:
        """The character between two fields."""
        return self.layout.delimiter

    def column(self, name: str) -> Column:
        """What a column holds by its first rows: int64, float32 or string.

        A few fields that do not fit do not make numbers a text: `check_sample` names them. A single fraction among
        whole numbers makes them float32.
        """
        values = [value for value in self._head_fields(name) if value]
        numbers = [value for value in values if fits("float32", value)]
        if not values or len(numbers) <= MOSTLY * len(values):
            return Column("string")
        return Column("int64" if all(fits("int64", value) for value in numbers) else "float32")

    def read(self, raw: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
        """See Reader."""
        fields = self.split(raw)
        if len(fields) != len(self.columns):
            raise BadValue(
                None,
                f"found {_counted(len(fields), 'field')} where there are {_counted(len(self.columns), 'column')}: mend "
                "the line, and quote fields that hold the separator",
            )
        return {name: _value(name, fields[self._places[name]], column) for name, column in columns.items()}

    def parse(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """TensorFlow's parser, with a closer look at a batch in which it could take for a number what is none.

        It takes hexadecimal digits and blanks, makes infinity of what is too large, and knows nothing of UTF-8: bytes
        that are none have to be found first, as they would break the message of its own error.
        """
        plain = tf.strings.regex_full_match(tf.strings.reduce_join(records, separator="\n"), self._plain)
        with tf.control_dependencies([self._insist(records, columns, ~plain)]):
            fields = self._decode(tf.identity(records), columns)
        floats = [fields[name] for name, column in columns.items() if column.kind == "float32"]
        if not floats:
            return fields
        with tf.control_dependencies([self._insist(records, columns, tf.reduce_any(tf.math.is_inf(tf.stack(floats))))]):
            return {name: tf.identity(field) for name, field in fields.items()}

    def good(self, records: tf.Tensor, columns: Mapping[str, Column]) -> tf.Tensor:
        """See Reader."""
        well_formed = tf.strings.regex_full_match(records, UTF8) & tf.strings.regex_full_match(records, self._line)
        unquoted = tf.strings.regex_replace(records, '"[^"]*"', "")
        separators = tf.strings.length(tf.strings.regex_replace(unquoted, f"[^{re.escape(self.separator)}]", ""))
        well_formed &= tf.equal(separators, len(self.columns) - 1)
        blank = self.separator * (len(self.columns) - 1)
        texts = self._decode_texts(tf.where(well_formed, records, blank or '""'), columns)
        for kind, may_miss in itertools.product(
            PATTERN, (False, True)
        ):  # few operations, however many columns there are
            alike = [
                each
                for each, column in columns.items()
                if (column.kind, column.default is not None) == (kind, may_miss)
            ]
            if alike:
                well_formed &= tf.reduce_all(_fits(tf.stack([texts[each] for each in alike]), kind, may_miss), axis=0)
        return well_formed

    def is_plain(self, chunk: bytes) -> bool:
        """Without quotes no field can go on in the next line."""
        return b'"' not in chunk

    def check_line(self, path: str, number: int, line: bytes) -> None:
        """Raises DataError for a field that spans lines: the lines in its middle could pass for rows."""
        if line.count(b'"') % 2 and re.fullmatch(self._open_line, strip(line).decode("utf-8", "replace")):
            raise DataError(
                f"{path}, line {number}: a quoted field goes on in the next line, which is not supported: "
                "write the data without line breaks inside fields."
            )

    def split(self, raw: bytes) -> list[str]:
        """The fields of a line. Raises BadValue."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise BadValue(None, NO_UTF8) from None
        if '"' not in text:
            return text.split(self.separator)
        if not re.fullmatch(self._line, text):
            raise BadValue(
                None,
                "found a quote in the middle of a field: put the whole field in quotes, and double those inside it",
            )
        fields = re.findall(f"(?:^|{re.escape(self.separator)})({self._field})", text)
        return [field[1:-1].replace('""', '"') if field.startswith('"') else field for field in fields]

    def _read_header(self, path: str) -> tuple[str, ...]:
        line = first_line(path)
        names = self.layout.columns
        if names:
            refuse_mark(path, line)
            if self._fields_of(path, line) == list(names):
                raise DataError(f"the first line of {path} names the columns itself: leave --columns out.")
            return names
        header = [] if is_blank(line) else self._fields_of(path, line.removeprefix(codecs.BOM_UTF8))
        if not header:
            raise DataError(f"{path} begins with a blank line: its first line has to name the columns.")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise DataError(
                f"{path} names the column {twice[0]} twice in its header line: give each column a name of its own."
            )
        return tuple(header)

    def _fields_of(self, path: str, line: bytes) -> list[str]:
        try:
            fields = self.split(strip(line))
        except BadValue as bad:
            raise DataError(f"{path}, line 1: {bad.problem}.") from bad
        if any("\0" in field for field in fields):
            raise DataError(
                f"{path}, line 1: found a NUL character, as in UTF-16 text or in what is no text: {NO_CSV}."
            )
        return fields

    def _head_fields(self, name: str) -> list[str]:
        """A column's fields in the first rows, those of lines that cannot be split left out."""
        place = self._places[name]
        return [fields[place] for fields in self._head_rows if place < len(fields)]

    @functools.cached_property
    def _head_rows(self) -> list[list[str]]:
        return self._readable_head(self.split)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.columns)}

    @property
    def _field(self) -> str:
        return f'"[^"]*(?:""[^"]*)*"|[^"{re.escape(self.separator)}]*'

    @property
    def _open_line(self) -> str:
        """Matches a line that ends within quotes."""
        return f'(?:(?:{self._field}){re.escape(self.separator)})*"[^"]*(?:""[^"]*)*'

    @property
    def _line(self) -> str:
        return f"(?:{self._field})(?:{re.escape(self.separator)}(?:{self._field}))*"

    def _decode(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """All columns are read, those nobody wants as text: of some only, TensorFlow would not count the fields."""
        defaults = [_default(columns[name]) if name in columns else [""] for name in self.columns]
        fields = tf.io.decode_csv(records, defaults, field_delim=self.separator)
        return {name: fields[self._places[name]] for name in columns}

    def _decode_texts(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        fields = tf.io.decode_csv(records, [[""]] * len(self.columns), field_delim=self.separator)
        return {name: fields[self._places[name]] for name in columns}

    @property
    def _plain(self) -> str:
        """Matches lines of UTF-8, put together, without 0x, whose fields are empty or have more than blanks and quotes.

        One match for a whole batch is cheaper than many; the pattern's size does not depend on the number of columns.
        """
        end = f"{re.escape(self.separator)}\\n"

        def but(letters: str) -> str:
            return f"[^{letters}{end}{NO_LETTERS}]"

        blank = "".join(letter for letter in BLANKS if letter != self.separator) + QUOTE
        begin = f"(?:{but(f'0{blank}')}|0+{but('0xX')})"
        field = f'(?:[{blank}]*(?:{begin}(?:{but("0")}|0+{but("0xX")})*0*|0+)|"")?'
        return f"{field}(?:[{end}]{field})*"

    def _insist(self, records: tf.Tensor, columns: Mapping[str, Column], doubtful: tf.Tensor) -> tf.Operation:
        """Stop at a record that is not good, where there is doubt."""
        check = lambda: tf.debugging.Assert(tf.reduce_all(self.good(records, columns)), ["a bad row"])  # noqa: E731
        return tf.cond(doubtful, check, tf.no_op)


def _fits(texts: tf.Tensor, kind: str, may_miss: bool) -> tf.Tensor:
    """Which texts are numbers of a kind: bool, of the same shape."""
    fitting = tf.strings.regex_full_match(texts, PATTERN[kind])
    if kind == "float32":
        fitting &= ~is_overflow(texts, fitting)
    return fitting | tf.equal(texts, "") if may_miss else fitting


def _value(name: str, field: str, column: Column) -> Any:
    if not field and column.default is not None:
        return column.default
    if column.kind == "string":
        return field
    problem = problem_of(column.kind, field)
    if problem is not None:
        found = shown(field) if field else "nothing"
        raise BadValue(name, f"found {found}{problem} where {WANTED[column.kind]} is needed")
    return value_of(column.kind, field)


def _default(column: Column) -> tf.Tensor:
    values = EMPTY[column.kind] if column.default is None else [column.default]
    return tf.constant(values, column.kind)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

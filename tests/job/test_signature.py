"""A builder's parameters, read from its source: nothing of it runs, nothing of TensorFlow is imported."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

import pytest

from trainer.job.errors import ModelError, TrainerError, UsageError
from trainer.job.kinds import Kind
from trainer.job.signature import Parameter, argument_helps, read_signature
from trainer.job.sources import split_ref


def write(path: pathlib.Path, source: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return str(path)


def parameter(tmp_path: pathlib.Path, code: str, above: str = "") -> Parameter:
    """The only parameter of `build_model(<code>)`."""
    path = write(tmp_path / "one.py", f"{above}\ndef build_model({code}):\n    pass\n")
    (only,) = read_signature(path).parameters
    return only


# id: parameter, kind, default
PARAMETERS: dict[str, tuple[str, Kind | None, object]] = {
    "int": ("units: int = 64", Kind(int), 64),
    "by its default": ("units=64", Kind(int), 64),
    "negative": ("shift=-1.5", Kind(float), -1.5),
    "0 for float": ("dropout: float = 0", Kind(float), 0.0),
    "bool": ("bias=True", Kind(bool), True),
    "text": ("name='a'", Kind(str), "a"),
    "optional": ("clip: Optional[float] = None", Kind(float, optional=True), None),
    "typing.Optional": ("clip: typing.Optional[int] = None", Kind(int, optional=True), None),
    "or none": ("clip: float | None = 1", Kind(float, optional=True), 1.0),
    "none or": ("clip: 'None | int' = 1", Kind(int, optional=True), 1),
    "none without optional": ("units: int = None", Kind(int, optional=True), None),
    "union": ("rate: Union[int, float] = 1", Kind(float), 1.0),
    "literal": ("mode: Literal['a', 'b'] = 'a'", Kind(str, ("a", "b")), "a"),
    "literal in text": ("mode: \"Literal['a', 'b']\" = 'a'", Kind(str, ("a", "b")), "a"),
    "alias": ("mode: Mode = 'a'", Kind(str, ("a", "b")), "a"),
    "tuple": ("layers: tuple[int, ...] = (1, 2)", Kind(int, many=True), (1, 2)),
    "list": ("layers: List[float] = [1]", Kind(float, many=True, container=list), (1.0,)),
    "bare list": ("layers=[64, 32]", Kind(int, many=True, container=list), (64, 32)),
    "annotated": ("units: Annotated[int, 'cells'] = 3", Kind(int), 3),
    "constant": ("units=UNITS", Kind(int), 64),
    "keyword only": ("*, units=3", Kind(int), 3),
    "rest ignored": ("units=3, *args, **kwargs", Kind(int), 3),
    "a schedule or a number": ("rate: float | Schedule = 0.1", Kind(float), 0.1),
    "unknown type": ("rate: Schedule = 'x'", Kind(str), "x"),
}


@pytest.mark.parametrize(("code", "kind", "default"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(tmp_path: pathlib.Path, code: str, kind: Kind, default: object) -> None:
    found = parameter(tmp_path, code, above="UNITS = 64\nMode = Literal['a', 'b']")
    assert (found.kind, found.default, type(found.default)) == (kind, default, type(default))
    assert not found.required
    assert not found.computed
    assert not found.obstacle


# id: parameter, may a flag set it, words of the obstacle
COMPUTED: dict[str, tuple[str, bool, str]] = {
    "expression with a type": ("units: int = 2 * 32", True, ""),
    "expression without": ("units=2 * 32", False, "write its type"),
    "call": ("optimizer=Adam()", False, "write its type, such as optimizer: float"),
    "a name bound twice": ("units: int = TWICE", True, ""),
}


@pytest.mark.parametrize(("code", "settable", "words"), COMPUTED.values(), ids=COMPUTED)
def test_computed(tmp_path: pathlib.Path, code: str, settable: bool, words: str) -> None:
    found = parameter(tmp_path, code, above="TWICE = 1\nTWICE = 2")
    assert found.computed
    assert (found.kind is not None) == settable
    assert words in found.obstacle


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("optimizer=None", "write its type"),
        ("table: dict = None", "its type, dict, has no spelling"),
        ("table={'a': 1}", "no spelling on a command line"),
        ("units=3, /", "by position"),
    ],
)
def test_no_flag(tmp_path: pathlib.Path, code: str, words: str) -> None:
    found = parameter(tmp_path, code)
    assert found.kind is None
    assert words in found.obstacle


def test_required_and_assets(tmp_path: pathlib.Path) -> None:
    signature = read_signature(write(tmp_path / "m.py", "def build_model(assets, units: int, *, rate: float): ..."))
    assert signature.takes_assets
    assert [(each.name, each.required) for each in signature.parameters] == [("units", True), ("rate", True)]


def test_arguments_of_a_call(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "m.py", "def build_model(a: list[int] = [1], b: tuple[int, ...] = (1,), c: int = 1): ...")
    assert read_signature(path).arguments({"a": (1, 2), "b": (3,), "c": 4}) == {"a": [1, 2], "b": (3,), "c": 4}


def test_helps() -> None:
    text = "Build.\n\nArgs:\n  a: one\n    two: more\n  b (int): three\n\n  **c:\n    four\n\nReturns:\n  d: no\n"
    assert argument_helps(text) == {"a": "one two: more", "b": "three", "c": "four"}
    assert argument_helps("Build without.") == {}


REFS: dict[str, tuple[str, tuple[str, str]]] = {
    "file": ("mine.py", ("mine.py", "build_model")),
    "file and function": ("a b/mine.py:cnn", ("a b/mine.py", "cnn")),
    "colon in a folder": ("a:b/mine.py", ("a:b/mine.py", "build_model")),
    "colon in a folder and function": ("a:b/mine.py:cnn", ("a:b/mine.py", "cnn")),
    "module": ("package.module", ("package.module", "build_model")),
    "module and function": ("package.module:cnn", ("package.module", "cnn")),
    "nothing behind the colon": ("mine.py:", ("mine.py", "build_model")),
}


@pytest.mark.parametrize(("ref", "parts"), REFS.values(), ids=REFS)
def test_split_ref(ref: str, parts: tuple[str, str]) -> None:
    assert split_ref(ref) == parts


# id: files below the folder, reference; each builder found has the one parameter `units`
FOLLOWED: dict[str, tuple[dict[str, str], str]] = {
    "neighbour": ({"m.py": "from other import build_model", "other.py": "def build_model(units=1): ..."}, "m.py"),
    "another name": ({"m.py": "from other import cnn as build_model", "other.py": "def cnn(units=1): ..."}, "m.py"),
    "star": ({"m.py": "from other import *", "other.py": "def build_model(units=1): ..."}, "m.py"),
    "two steps": (
        {
            "m.py": "from a import build_model",
            "a.py": "from b import build_model",
            "b.py": "def build_model(units=1): ...",
        },
        "m.py",
    ),
    "folder": ({"m.py": "from p.q import build_model", "p/q.py": "def build_model(units=1): ..."}, "m.py"),
    "alias": ({"m.py": "def cnn(units=1): ...\nbuild_model = cnn"}, "m.py"),
    "the last wins": ({"m.py": "def build_model(x=1): ...\ndef build_model(units=1): ..."}, "m.py"),
    "inside if": ({"m.py": "if True:\n  def build_model(units=1): ..."}, "m.py"),
    "not of main": (
        {"m.py": "def build_model(units=1): ...\nif __name__ == '__main__':\n  def build_model(x=1): ..."},
        "m.py",
    ),
    "module": ({"p/__init__.py": "raise SystemExit", "p/m.py": "def build_model(units=1): ..."}, "p.m"),
    "namespace package": ({"n/m.py": "def build_model(units=1): ..."}, "n.m"),
    "namespace package in another": ({"n/o/m.py": "def build_model(units=1): ..."}, "n.o.m"),
    "package": ({"p/__init__.py": "from .m import build_model", "p/m.py": "def build_model(units=1): ..."}, "p"),
    "relative": (
        {
            "p/__init__.py": "",
            "p/a.py": "def build_model(units=1): ...",
            "p/q/__init__.py": "",
            "p/q/m.py": "from ..a import build_model",
        },
        "p.q.m",
    ),
    "byte order mark": ({"m.py": "\ufeffdef build_model(units=1): ..."}, "m.py"),
}


@pytest.mark.parametrize(("files", "ref"), FOLLOWED.values(), ids=FOLLOWED)
def test_followed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], ref: str) -> None:
    for name, source in files.items():
        write(tmp_path / name, source)
    monkeypatch.chdir(tmp_path)
    signature = read_signature(ref)
    assert [each.name for each in signature.parameters] == ["units"]
    assert signature.path.startswith(str(tmp_path))
    assert signature.module == (None if ref.endswith(".py") else ref)


# id: file, its source, reference, kind of error, words of the sentence
REFUSED: dict[str, tuple[str, str, str, type[TrainerError], list[str]]] = {
    "no such file": ("a.py", "", "nowhere/mine.py", UsageError, ["--model=nowhere/mine.py: no such file"]),
    "nearly": ("my_model.py", "", "mymodel.py", UsageError, ["no such file", "did you mean my_model.py?"]),
    "a directory": ("d/a.py", "", "d/", UsageError, ["--model=d/ is a directory", "FILE.py[:FUNCTION]"]),
    "a folder as module": ("d/a.py", "", "d", UsageError, ["a folder without __init__.py"]),
    "no Python file": ("a/b.txt", "", "a/b.txt", UsageError, ["is not a Python file"]),
    "no name": ("a.py", "", "my-model", UsageError, ["--model=my-model is no file and no module name"]),
    "no such module": ("a.py", "", "a.b.c", UsageError, ["--model=a.b.c: no such module"]),
    "built in": ("a.py", "", "sys", UsageError, ["--model=sys"]),
    "notebook": ("a.ipynb", "{}", "a.ipynb", UsageError, ["is a notebook", "export it as a script"]),
    "notebook and function": ("a.ipynb", "{}", "a.ipynb:f", UsageError, ["is a notebook"]),
    "syntax": ("a.py", "x = 1\ndef build_model(:\n", "a.py", ModelError, ["a.py, line 2", "not Python 3"]),
    "Python 2": ("a.py", "print 'x'\n", "a.py", ModelError, ["a.py, line 1", "not Python 3"]),
    "binary": ("a.py", "\0\0", "a.py", ModelError, ["a.py", "not Python"]),
    "no function": ("a.py", "x = 1", "a.py", ModelError, ["no function build_model", "it defines no function"]),
    "another function": (
        "a.py",
        "def cnn(): ...\ndef rnn(): ...",
        "a.py:lstm",
        ModelError,
        ["no function lstm", "cnn, rnn", "--model=a.py:NAME"],
    ),
    "class": ("a.py", "class build_model: ...", "a.py", ModelError, ["a.py, line 1", "is a class"]),
    "async": ("a.py", "\nasync def build_model(): ...", "a.py", ModelError, ["a.py, line 2", "is an async function"]),
    "lambda": ("a.py", "build_model = lambda: 1", "a.py", ModelError, ["a.py, line 1", "write it with def"]),
    "imported from nowhere": ("a.py", "from nowhere_x import build_model", "a.py", ModelError, ["line 1", "beside it"]),
    "circle": ("a.py", "from a import build_model", "a.py", ModelError, ["a.py, line 1"]),
    "circle of names": ("a.py", "build_model = cnn\ncnn = build_model", "a.py", ModelError, ["a.py"]),
    "required by position": (
        "a.py",
        "def build_model(units: int, /): ...",
        "a.py",
        ModelError,
        ["units", "by position"],
    ),
    "required without a type": ("a.py", "def build_model(units): ...", "a.py", ModelError, ["units has no default"]),
}


@pytest.mark.parametrize(("name", "source", "ref", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
    ref: str,
    kind: type[TrainerError],
    words: list[str],
) -> None:
    write(tmp_path / name, source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        read_signature(ref)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


def test_parents_are_not_imported(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "pk" / "__init__.py", "import tensorflow\nraise SystemExit(9)")
    write(tmp_path / "pk" / "m.py", "import tensorflow as tf\ndef build_model(units=1): ...")
    root = pathlib.Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.append({str(root)!r})\n"
        "from trainer.job.signature import read_signature\n"
        "assert read_signature('pk.m').parameters[0].name == 'units'\n"
        "assert not {'pk', 'pk.m', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)

"""The files of a job: what is read, how they are told apart, and what is refused in one sentence."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cloud.spec_text import parse
from trainer.cloud.specs import MAX_BYTES, Spec, read_spec
from trainer.job.errors import UsageError

CUSTOM = """\
workerPoolSpecs:
  - machineSpec: {machineType: n1-standard-4}
    replicaCount: 1
    containerSpec: {imageUri: an/image, args: ["--epochs=4", 0.1, true, 1e-3]}
  - {}
scheduling: {timeout: 7200s}
"""


def read(path: pathlib.Path, content: str | bytes) -> Spec:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_spec(str(path))


def test_a_custom_job_keeps_the_types_of_its_values(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a 0.yaml"
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": 1,
        "containerSpec": {"imageUri": "an/image", "args": ["--epochs=4", 0.1, True, "1e-3"]},
    }
    content = {"workerPoolSpecs": [pool, {}], "scheduling": {"timeout": "7200s"}}
    spec = read(path, CUSTOM)
    assert spec == Spec(str(path), "custom_job", content)
    assert spec.job_spec == content
    assert spec.pools == [pool, {}]
    assert read(tmp_path / "c.json", json.dumps({**content, "scheduling": {}})).pools == spec.pools


TUNING: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "whole": ("studySpec: {}\ntrialJobSpec: {workerPoolSpecs: [{replicaCount: 1}]}", {}, [{"replicaCount": 1}]),
    "without a study": ("trialJobSpec: {workerPoolSpecs: []}", {}, []),
    "without a job": ("studySpec: {}\nmaxTrialCount: 3", {}, []),
    "a map for a list": ("trialJobSpec: {workerPoolSpecs: {replicaCount: 1}}", {}, []),
    "a word for a pool": ("trialJobSpec: {workerPoolSpecs: [chief, {replicaCount: 1}]}", {}, [{}, {"replicaCount": 1}]),
    "a list for a job": ("trialJobSpec: []", {}, []),
}


@pytest.mark.parametrize(("content", "_", "pools"), TUNING.values(), ids=TUNING)
def test_a_tuning_job_has_its_pools_in_the_trial(
    tmp_path: pathlib.Path, content: str, _: Any, pools: list[Any]
) -> None:
    spec = read(tmp_path / "h.yaml", content)
    assert (spec.kind, spec.pools) == ("tuning_job", pools)


def test_a_legacy_file_says_how_to_convert_it(tmp_path: pathlib.Path) -> None:
    spec = read(tmp_path / "old.yaml", "jobId: x\ntrainingInput: {scaleTier: BASIC}")
    assert spec.kind == "legacy"
    with pytest.raises(UsageError, match=r"old\.yaml is a file of the old .* --convert-legacy .*old\.yaml writes"):
        _ = spec.pools


# id: file name, content, words of the sentence
REFUSED: dict[str, tuple[str, str | bytes, list[str]]] = {
    "twice": ("c.yaml", f"{CUSTOM}scheduling: {{}}", ["c.yaml, line 7: scheduling stands there twice"]),
    "twice inside": (
        "c.yaml",
        "workerPoolSpecs:\n- replicaCount: 1\n  replicaCount: 2",
        ["line 3: replicaCount stands"],
    ),
    "twice in JSON": (
        "c.json",
        '{"workerPoolSpecs": [{"args": 1, "b": 2, "args": 3}]}',
        ["args stands twice beside b"],
    ),
    "nothing": ("c.yaml", "# only a remark", ["c.yaml holds nothing: expected a mapping", "workerPoolSpecs:"]),
    "empty": ("c.yaml", "", ["c.yaml holds nothing"]),
    "list": ("c.yaml", "- workerPoolSpecs", ["c.yaml holds a list: expected a mapping"]),
    "word": ("c.json", '"workerPoolSpecs"', ["c.json holds a str: expected a mapping"]),
    "empty mapping": ("c.yaml", "{}", ["expected workerPoolSpecs (a custom job)", "found nothing"]),
    "other keys": ("c.yaml", "apiVersion: v1\nkind: Pod", ["expected workerPoolSpecs", "found apiVersion, kind"]),
    "close": ("c.yaml", "workerPoolSpec: []", ["unknown key workerPoolSpec: did you mean workerPoolSpecs?"]),
    "snake case": ("c.yaml", "worker_pool_specs: []", ["unknown key worker_pool_specs: did you mean workerPoolSpecs?"]),
    "whole job": ("c.yaml", "displayName: a\njobSpec: {}", ["jobSpec is of a whole CustomJob: move"]),
    "key of the job": (
        "c.yaml",
        f"displayName: a\n{CUSTOM}",
        ["displayName belongs to the job around", "--display-name"],
    ),
    "unknown": ("c.yaml", f"{CUSTOM}timeout: 3", ["c.yaml: unknown key timeout in a CustomJobSpec", "its keys are"]),
    "unknown, close": (
        "c.yaml",
        f"{CUSTOM}servceAccount: a",
        ["unknown key servceAccount", "did you mean serviceAccount?"],
    ),
    "unknown in a study": (
        "c.yaml",
        "studySpec: {}\nmaxTrials: 3",
        ["unknown key maxTrials in a Hyper", "maxTrialCount"],
    ),
    "two kinds": ("c.yaml", f"{CUSTOM}studySpec: {{}}", ["workerPoolSpecs and studySpec", "a file of its own"]),
    "old and new": ("c.yaml", f"{CUSTOM}trainingInput: {{}}", ["workerPoolSpecs and trainingInput"]),
    "key no text": ("c.yaml", "workerPoolSpecs:\n- on: 1", ["c.yaml, line 2: the key on is no text: quote it"]),
    "number as key": ("c.yaml", "trainingInput: {}\n1: 2", ["line 2: the key 1 is no text"]),
    "list as key": ("c.yaml", "? [a]\n: 1", ["c.yaml, line 1 is not YAML"]),
    "date": ("c.yaml", "workerPoolSpecs:\n- 2026-01-01", ["line 2: YAML reads a date here: quote 2026-01-01"]),
    "binary": ("c.yaml", "workerPoolSpecs: !!binary aGk=", ["line 1: YAML reads binary data here"]),
    "set": ("c.yaml", "workerPoolSpecs: !!set {a}", ["line 1: YAML reads a set here"]),
    "not finite": ("c.yaml", "studySpec:\n  a: .inf", ["c.yaml, line 2: .inf is no finite number"]),
    "not finite in JSON": ("c.json", '{"studySpec": NaN}', ["c.json: NaN is no finite number"]),
    "too large": ("c.json", '{"studySpec": 1e999}', ["c.json: a number is too large"]),
    "half a character": ("c.json", '{"studySpec": "\\ud800"}', ["is not valid text"]),
    "Python object": ("c.yaml", "studySpec: !!python/object/apply:os.system [ls]", ["c.yaml, line 1 is not YAML"]),
    "broken": ("c.yaml", "studySpec: {\n", ["c.yaml, line 2 is not YAML"]),
    "tab": ("c.yaml", "studySpec:\n\ta: 1", ["c.yaml, line 2 is not YAML"]),
    "two documents": ("c.yaml", "studySpec: 1\n---\nstudySpec: 2", ["c.yaml, line 2 is not YAML"]),
    "control character": ("c.yaml", "studySpec: \a", ["c.yaml is not YAML"]),
    "no JSON": ("c.json", '{"studySpec": 1,}', ["c.json is not JSON", "line 1"]),
    "no text": ("c.yaml", b"\xff\xfe\x00", ["c.yaml is not UTF-8 text"]),
    "long": ("c.yaml", b"studySpec: 1 #" + b"x" * MAX_BYTES, ["is larger than 1,000,000 bytes"]),
    "long, and cut in a character": ("c.yaml", b"#" + "é".encode() * MAX_BYTES, ["is larger than 1,000,000 bytes"]),
    "deep": ("c.yaml", "studySpec: " + "[" * 3000, ["nested too deeply"]),
    "deep JSON": ("c.json", '{"studySpec": ' + "[" * 200_000, ["nested too deeply"]),
    "billions": (
        "c.yaml",
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 10}]\n" for n in range(1, 12)),
        ["stands for more than 100,000 values"],
    ),
    "itself": ("c.yaml", "studySpec: &a [*a]", ["stands for more than 100,000 values"]),
    "billions of merged keys": (
        "c.yaml",
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1},' * 10}], y{n}: 1}}\n" for n in range(1, 12)),
        ["a mapping of more than 1000 keys"],
    ),
    "many merged": ("c.yaml", "a: &a {x: 1}\nb: {<<: [" + "*a," * 101 + "]}", ["more than 100 mappings are merged"]),
}


@pytest.mark.parametrize(("name", "content", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: pathlib.Path, name: str, content: str | bytes, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path / name, content)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert len(sentence) < 600


@pytest.mark.parametrize("text", ["{k}: 1\n{k}: 2", "studySpec: 1\n{k}: 1", "{k}: 1", "{k}: .inf", "{k}: {k}"])
def test_what_is_said_obeys_no_terminal(tmp_path: pathlib.Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "c.yaml", text.replace("{k}", r'"a\e[2J\n\u2028' + "x" * 9000 + '"'))
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert len(sentence.replace(str(tmp_path), "")) < 500


def test_what_is_no_file_is_refused(tmp_path: pathlib.Path) -> None:
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError, match=words):
            read_spec(str(path))


def test_anchors_and_merges_stand_for_what_they_name(tmp_path: pathlib.Path) -> None:
    """Pools that share a machine are what anchors are for."""
    content = """\
workerPoolSpecs:
  - &chief
    machineSpec: &machine {machineType: n1-standard-4}
    replicaCount: 1
  - <<: *chief
    replicaCount: 2
  - {machineSpec: {<<: *machine, acceleratorCount: 1}}
"""
    machine = {"machineType": "n1-standard-4"}
    assert read(tmp_path / "c.yaml", content).pools == [
        {"machineSpec": machine, "replicaCount": 1},
        {"machineSpec": machine, "replicaCount": 2},
        {"machineSpec": {**machine, "acceleratorCount": 1}},
    ]


def test_a_byte_order_mark_is_no_character(tmp_path: pathlib.Path) -> None:
    assert read(tmp_path / "c.yaml", b"\xef\xbb\xbfstudySpec: 1").content == {"studySpec": 1}
    assert read(tmp_path / "c.json", b'\xef\xbb\xbf{"studySpec": 1}').content == {"studySpec": 1}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(content=st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_was_written_is_read(content: dict[str, Any]) -> None:
    assert parse("c.yaml", yaml.safe_dump(content)) == content
    assert parse("c.json", json.dumps(content)) == content
    assert parse("c.json", json.dumps(content, ensure_ascii=False)) == content


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("a1:-?,{}[]&*!<|>'\"%@#= \n\té\x85"), max_size=60))
def test_any_text_is_values_or_one_sentence(text: str) -> None:
    for path in ("c.yaml", "c.json"):
        try:
            json.dumps(parse(path, text), allow_nan=False)
        except UsageError as error:
            sentence = str(error)
            assert (sentence.startswith(path), "\n" in sentence) == (True, False)


def test_a_door_that_imports_it_does_not_pay_for_yaml() -> None:
    code = "import sys, trainer.cloud.specs, trainer.cloud.legacy; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

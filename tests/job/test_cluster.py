"""Every shape of TF_CONFIG and CLUSTER_SPEC that services and users write, read as one cluster or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.job.cluster import NAMES, ROLES, Cluster, read_cluster
from trainer.job.errors import UsageError

CHIEF, WORKER, PS, EVALUATOR = ({"type": role, "index": 0} for role in ROLES)
FULL = {"chief": ["c:1"], "worker": ["w0:1", "w1:1"], "ps": ["p:1"]}
POOLS = {"workerpool0": ["c:1"], "workerpool1": ["w:1"], "workerpool2": ["p:1"], "workerpool3": ["e:1"]}
BY_POOLS = (
    "CLUSTER_SPEC names the cluster, TF_CONFIG does not",
    "workerpool0 is read as chief",
    "workerpool1 is read as worker",
    "workerpool2 is read as ps",
    "workerpool3 is read as evaluator",
)
FIRST = "worker 0 is the chief, as none is named"
MOVED = f"{FIRST}, and later workers move down"
GRPC = "grpc:// is left out of addresses"
LONE = Cluster("c:1")
PAIR = Cluster("c:1", ("w:1",))


def config(cluster: Any, task: Any = None, **extras: Any) -> dict[str, Any]:
    """A variable's value; a task of None is left out."""
    return {"cluster": cluster, **({} if task is None else {"task": task}), **extras}


def text_of(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


# id: TF_CONFIG, CLUSTER_SPEC, what is read
SHAPES: dict[str, tuple[Any, Any, Cluster | None]] = {
    "nothing set": (None, None, None),
    "set but empty": ("", " \n", None),
    "an empty object": ("{}", "{}", None),
    "an empty cluster": (config({}), None, None),
    "no cluster, null": (config(None, WORKER), None, None),
    "a role without anybody": (config({"chief": [], "ps": None}, CHIEF), None, None),
    "AI Platform, one machine": (config({}, {"cloud": "w93a"}, environment="cloud", job={"region": "x"}), None, None),
    "TensorFlow 1's session master": ({"master": "local", "task": WORKER, "environment": "local"}, None, None),
    "chief of all roles": (config(FULL, CHIEF), None, Cluster("c:1", ("w0:1", "w1:1"), ("p:1",))),
    "worker 1": (
        config(FULL, {"type": "worker", "index": 1}),
        None,
        Cluster("c:1", ("w0:1", "w1:1"), ("p:1",), "worker", 1),
    ),
    "ps": (config(FULL, PS), None, Cluster("c:1", ("w0:1", "w1:1"), ("p:1",), "ps")),
    "index as text, as a shell writes it": (
        config({"chief": ["c:1"], "worker": ["w:1"]}, {"type": "worker", "index": "0"}),
        None,
        Cluster("c:1", ("w:1",), role="worker"),
    ),
    "ps without workers": (config({"chief": ["c:1"], "ps": ["p:1"]}, CHIEF), None, Cluster("c:1", ps=("p:1",))),
    "a lone chief": (config({"chief": ["c:1"]}, CHIEF), None, LONE),
    "a lone chief that nobody names": (config({"chief": ["c:1"]}), None, LONE),
    "a lone chief, a task of the service's own keys": (config({"chief": ["c:1"]}, {"trial": "3"}), None, LONE),
    "a lone master": (
        config({"master": ["c:1"]}, {"type": "master", "index": 0}),
        None,
        Cluster("c:1", notes=("master is read as chief",)),
    ),
    "a lone worker (kubeflow issue 1078)": (
        config({"worker": ["w:1"]}, WORKER, environment="cloud"),
        None,
        Cluster("w:1", notes=(FIRST,)),
    ),
    "master and workers": (
        config({"master": ["c:1"], "worker": ["w:1"]}, {"type": "worker", "index": 0, "cloud": "a"}),
        None,
        Cluster("c:1", ("w:1",), role="worker", notes=("master is read as chief",)),
    ),
    "master only in the task (tfx issue 4587)": (
        config({"chief": ["c:1"], "worker": ["w:1"]}, {"type": "master", "index": 0}),
        None,
        Cluster("c:1", ("w:1",), notes=("master is read as chief",)),
    ),
    "Kubernetes, the first worker": (
        config({"worker": ["a:1", "b:1", "c:1"]}, WORKER),
        None,
        Cluster("a:1", ("b:1", "c:1"), notes=(MOVED,)),
    ),
    "Kubernetes, the last worker": (
        config({"worker": ["a:1", "b:1", "c:1"]}, {"type": "worker", "index": 2}),
        None,
        Cluster("a:1", ("b:1", "c:1"), role="worker", index=1, notes=(MOVED,)),
    ),
    "Batch AI, workers and a ps": (
        config({"ps": ["p:1", "q:1"], "worker": ["a:1", "b:1"]}, {"type": "ps", "index": 1}),
        None,
        Cluster("a:1", ("b:1",), ("p:1", "q:1"), "ps", 1, notes=(MOVED,)),
    ),
    "evaluator in the cluster, seen by a worker (kubeflow issue 1139)": (
        config({**FULL, "evaluator": ["e:1"]}, WORKER),
        None,
        Cluster("c:1", ("w0:1", "w1:1"), ("p:1",), "worker", has_evaluator=True),
    ),
    "evaluator in the cluster, seen by itself": (
        config({"chief": ["c:1"], "evaluator": ["e:1"]}, EVALUATOR),
        None,
        Cluster("c:1", role="evaluator", has_evaluator=True),
    ),
    "evaluator in the cluster, an object of indices": (
        config({"chief": ["c:1"], "evaluator": {"0": "e:1"}}, CHIEF),
        None,
        Cluster("c:1", has_evaluator=True),
    ),
    "evaluator outside of the cluster": (
        config({"chief": ["c:1"]}, EVALUATOR),
        None,
        Cluster("c:1", role="evaluator", has_evaluator=True),
    ),
    "evaluator of workers only": (
        config({"worker": ["a:1", "b:1"]}, EVALUATOR),
        None,
        Cluster("a:1", ("b:1",), role="evaluator", has_evaluator=True, notes=(MOVED,)),
    ),
    "evaluator that is told of itself only, as in TensorFlow's guide": (
        config({"evaluator": ["e:1"]}, EVALUATOR),
        None,
        Cluster("", role="evaluator", has_evaluator=True),
    ),
    "evaluator without a cluster, as TensorFlow's guide allows": (
        {"task": EVALUATOR},
        None,
        Cluster("", role="evaluator", has_evaluator=True),
    ),
    "objects of indices": (
        config({"chief": {"0": "c:1"}, "worker": {"1": "w1:1", "0": "w0:1"}}, {"type": "worker", "index": 1}),
        None,
        Cluster("c:1", ("w0:1", "w1:1"), role="worker", index=1),
    ),
    "ten objects of indices are in the order of numbers": (
        config({"chief": ["c:1"], "worker": {str(index): f"w{index}:1" for index in range(11)}}, CHIEF),
        None,
        Cluster("c:1", tuple(f"w{index}:1" for index in range(11))),
    ),
    "roles without a null from Go": (config({"chief": ["c:1"], "ps": None, "worker": []}, CHIEF), None, LONE),
    "extras of all kinds": (
        config(
            {"chief": ["c:1"], "worker": ["w:1"]},
            {**CHIEF, "trial": "1", "cloud": "x"},
            environment="cloud",
            job={"args": ["--a"], "worker_count": "1"},
            rpc_layer="grpc",
            session_master="grpc://c:1",
            eval_session_master="",
            model_dir="gs://b",
            service={},
        ),
        None,
        PAIR,
    ),
    "a cluster without the key around it": ({"chief": ["c:1"], "worker": ["w:1"], "task": CHIEF}, None, PAIR),
    "addresses of all kinds": (
        config({"chief": ["[2001:db8::1]:2222"], "worker": ["10.0.0.2:65535", "a-b_c.d.svc:1"]}, CHIEF),
        None,
        Cluster("[2001:db8::1]:2222", ("10.0.0.2:65535", "a-b_c.d.svc:1")),
    ),
    "addresses with grpc://": (
        config({"chief": ["grpc://c:1"], "worker": ["w:1"]}, CHIEF),
        None,
        Cluster("c:1", ("w:1",), notes=(GRPC,)),
    ),
    "Vertex AI: CLUSTER_SPEC knows of the evaluator": (
        config({"chief": ["c:1"], "worker": ["w:1"], "ps": ["p:1"]}, {**CHIEF, "trial": "1"}, environment="cloud"),
        config(POOLS, {"type": "workerpool0", "index": 0, "trial": "1"}, environment="cloud", job={}),
        Cluster("c:1", ("w:1",), ("p:1",), has_evaluator=True),
    ),
    "Vertex AI: the evaluator": (
        config({"chief": ["c:1"]}, EVALUATOR),
        config({"workerpool0": ["c:1"], "workerpool3": ["e:1"]}, {"type": "workerpool3", "index": 0}),
        Cluster("c:1", role="evaluator", has_evaluator=True),
    ),
    "Vertex AI: one replica has CLUSTER_SPEC alone": (
        None,
        config({"workerpool0": ["c:1"]}, {"type": "workerpool0", "index": 0}),
        Cluster("c:1", notes=BY_POOLS[:2]),
    ),
    "CLUSTER_SPEC alone, seen by a worker": (
        "{}",
        config(POOLS, {"type": "workerpool1", "index": 0}),
        Cluster("c:1", ("w:1",), ("p:1",), "worker", has_evaluator=True, notes=BY_POOLS),
    ),
    "CLUSTER_SPEC alone, seen by the evaluator": (
        None,
        config(POOLS, {"type": "workerpool3", "index": 0}),
        Cluster("c:1", ("w:1",), ("p:1",), "evaluator", has_evaluator=True, notes=BY_POOLS),
    ),
    "CLUSTER_SPEC of AI Platform's containers": (
        None,
        config({"master": ["c:1"]}, {"type": "master", "index": 0}),
        Cluster("c:1", notes=(BY_POOLS[0], "master is read as chief")),
    ),
    "TonY's CLUSTER_SPEC has no task and is not needed": (
        config({"chief": ["c:1"], "worker": ["w:1"]}, CHIEF),
        {"chief": ["c:1"], "worker": ["w:1"]},
        PAIR,
    ),
    "a CLUSTER_SPEC of something else": (config({"chief": ["c:1"]}, CHIEF), {"nodes": 3}, LONE),
    "job counts evaluators, as AI Platform's does": (
        config({"master": ["c:1"]}, {"type": "master", "index": 0}, job={"evaluator_count": "1"}),
        None,
        Cluster("c:1", has_evaluator=True, notes=("master is read as chief",)),
    ),
    "job counts evaluators, a text of JSON": (
        config({"chief": ["c:1"]}, CHIEF, job='{"evaluatorCount": 1}'),
        None,
        Cluster("c:1", has_evaluator=True),
    ),
    "job has a pool of evaluators": (
        config({"chief": ["c:1"]}, CHIEF),
        config({}, job={"workerPoolSpecs": [{"replicaCount": "1"}, {}, {}, {"replicaCount": "1"}]}),
        Cluster("c:1", has_evaluator=True),
    ),
    "job has a pool of evaluators, in the spelling of protocol buffers": (
        config({"chief": ["c:1"]}, CHIEF, job={"worker_pool_specs": [{}, {}, {}, {"replica_count": 1}]}),
        None,
        Cluster("c:1", has_evaluator=True),
    ),
    "job has no pool of evaluators": (
        config({"chief": ["c:1"]}, CHIEF, job={"workerPoolSpecs": [{"replicaCount": "1"}, {}, {}, None]}),
        None,
        LONE,
    ),
    "job without evaluators": (
        config({"chief": ["c:1"]}, CHIEF, job={"worker_pool_specs": [{"replica_count": 1}], "evaluator_count": 0}),
        config({"workerpool0": ["c:1"], "workerpool3": []}, job='{"python_module": "trainer.task"'),
        LONE,
    ),
}


@pytest.mark.parametrize(("tf_config", "cluster_spec", "expected"), SHAPES.values(), ids=SHAPES)
def test_read(tf_config: Any, cluster_spec: Any, expected: Cluster | None) -> None:
    assert read_cluster(text_of(tf_config), text_of(cluster_spec)) == expected


MANY = config({"chief": ["c:1"], "worker": ["a:1", "b:1"]})
ALL_FROM_0 = "each process has to know all others, so list them from 0 on, without a gap."
NO_ADDRESS = "expected an address with a port, such as host:2222."
SAY_WHICH = 'say which of them this one is, such as {"type": "worker", "index": 0}.'
KNOWN = "expected chief, worker, ps or evaluator"
COUNTED = "1 chief and 2 worker, counted from 0: make the task one of these, or add its address."
WHOLE = "expected a whole number from 0 on."
ONE_EVALUATOR = "one evaluates every checkpoint, so start only one."

# id: TF_CONFIG, CLUSTER_SPEC, the sentence
MISTAKES: dict[str, tuple[Any, Any, str]] = {
    "no JSON": (
        "{",
        None,
        "TF_CONFIG is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)): "
        "unset it to train on this machine alone.",
    ),
    "no JSON in CLUSTER_SPEC": (
        {**MANY, "task": CHIEF},
        "cluster.yaml",
        "CLUSTER_SPEC is not JSON (Expecting value: line 1 column 1 (char 0)): "
        "unset it to train on this machine alone.",
    ),
    "no object": (
        "[1,\n2]",
        None,
        "TF_CONFIG=[1, 2]: expected a JSON object; unset it to train on this machine alone.",
    ),
    "a cluster that is no object": (
        config(["c:1"], CHIEF),
        None,
        'TF_CONFIG\'s cluster is ["c:1"]: expected an object such as {"chief": ["host:2222"]}.',
    ),
    "a task that is no object": (
        {**MANY, "task": "worker"},
        None,
        'TF_CONFIG\'s task is "worker": expected an object such as {"type": "worker", "index": 0}.',
    ),
    "one address for a list": (
        config({"chief": "c:1"}, CHIEF),
        None,
        'TF_CONFIG gives chief as "c:1": expected a list such as ["host:2222"].',
    ),
    "chief and master": (
        config({"chief": ["c:1"], "master": ["m:1"]}, CHIEF),
        None,
        "TF_CONFIG names both chief and master, which are one role: keep only chief.",
    ),
    "a pool and a role": (
        None,
        config({"worker": ["w:1"], "workerpool1": ["v:1"]}, CHIEF),
        "CLUSTER_SPEC names both worker and workerpool1, which are one role: keep only worker.",
    ),
    "two chiefs": (
        config({"chief": ["c:1", "d:1"]}, CHIEF),
        None,
        "TF_CONFIG names more than one chief: keep one, and make the others workers.",
    ),
    "two masters": (
        config({"master": {"0": "c:1", "1": "d:1"}}, CHIEF),
        None,
        "TF_CONFIG names more than one master: keep one, and make the others workers.",
    ),
    "an unknown role": (config({"boss": ["c:1"]}, CHIEF), None, f'TF_CONFIG names the role "boss": {KNOWN}.'),
    "parameter_server": (
        config({"chief": ["c:1"], "parameter_server": ["p:1"]}, CHIEF),
        None,
        f'TF_CONFIG names the role "parameter_server": {KNOWN}; did you mean ps?',
    ),
    "PARAMETER_SERVER": (
        config({"chief": ["c:1"]}, {"type": "PARAMETER_SERVER", "index": 0}),
        None,
        f'TF_CONFIG names the role "PARAMETER_SERVER": {KNOWN}; did you mean ps?',
    ),
    "capitals": (
        config({"Worker": ["c:1"]}, CHIEF),
        None,
        f'TF_CONFIG names the role "Worker": {KNOWN}; did you mean worker?',
    ),
    "TensorFlow's propagation names a role local": (
        config({"local": {"0": "c:1"}}, {"type": "local", "index": 0}),
        None,
        f'TF_CONFIG names the role "local": {KNOWN}.',
    ),
    "an unknown role of the task": (
        {**MANY, "task": {"type": "workers", "index": 0}},
        None,
        f'TF_CONFIG names the role "workers": {KNOWN}; did you mean worker?',
    ),
    "a number as the role of the task": (
        {**MANY, "task": {"type": 3, "index": 0}},
        None,
        f"TF_CONFIG names the role 3: {KNOWN}.",
    ),
    "ps alone": (
        config({"ps": ["p:1"]}, PS),
        None,
        "TF_CONFIG names neither a chief nor a worker: add one, as parameter servers do not train.",
    ),
    "no port": (config({"chief": ["c"]}, CHIEF), None, f'TF_CONFIG\'s chief is "c": {NO_ADDRESS}'),
    "the guide's host:port": (
        config({"worker": ["a:1", "host2:port"]}, WORKER),
        None,
        f'TF_CONFIG\'s worker 1 is "host2:port": {NO_ADDRESS}',
    ),
    "an empty address (tensorflow issue 25450)": (
        config({"chief": [""], "ps": [""]}, CHIEF),
        None,
        f'TF_CONFIG\'s chief is "": {NO_ADDRESS}',
    ),
    "port 0": (config({"ps": ["c:0"]}, PS), None, f'TF_CONFIG\'s ps 0 is "c:0": {NO_ADDRESS}'),
    "a port too high": (config({"ps": ["c:65536"]}, PS), None, f'TF_CONFIG\'s ps 0 is "c:65536": {NO_ADDRESS}'),
    "another scheme": (
        config({"chief": ["http://c:1"]}, CHIEF),
        None,
        f'TF_CONFIG\'s chief is "http://c:1": {NO_ADDRESS}',
    ),
    "a line break in an address": (config({"chief": ["c:1\n"]}), None, f'TF_CONFIG\'s chief is "c:1\\n": {NO_ADDRESS}'),
    "no text as an address": (config({"chief": [2222]}, CHIEF), None, f"TF_CONFIG's chief is 2222: {NO_ADDRESS}"),
    "a pool without a port": (
        None,
        config({"workerpool1": ["a"]}, {"type": "workerpool1", "index": 0}),
        f'CLUSTER_SPEC\'s workerpool1 0 is "a": {NO_ADDRESS}',
    ),
    "one address twice": (
        config({"chief": ["c:1"], "worker": ["w:1", "grpc://c:1"]}, CHIEF),
        None,
        "TF_CONFIG gives chief and worker 1 the same address c:1: each process needs its own host or port.",
    ),
    "a gap": (
        config({"chief": ["c:1"], "worker": {"0": "a:1", "2": "b:1"}}, CHIEF),
        None,
        f'TF_CONFIG gives worker the indices ["0", "2"]: {ALL_FROM_0}',
    ),
    "a worker's own view (tensorflow pull request 48065)": (
        config({"ps": ["p:1", "q:1"], "worker": {"1": "w:1"}}, {"type": "worker", "index": 1}),
        None,
        f'TF_CONFIG gives worker the indices ["1"]: {ALL_FROM_0}',
    ),
    "names for indices": (
        config({"worker": {"first": "a:1"}}, WORKER),
        None,
        f'TF_CONFIG gives worker the indices ["first"]: {ALL_FROM_0}',
    ),
    "one index twice": (
        config({"worker": {"0": "a:1", "00": "b:1"}}, WORKER),
        None,
        f'TF_CONFIG gives worker the indices ["0", "00"]: {ALL_FROM_0}',
    ),
    "kubeflow's dynamic workers (issue 1763)": (
        {"sparseCluster": {"worker": {}, "ps": []}, "task": CHIEF},
        None,
        "TF_CONFIG has a sparseCluster, which does not tell all processes of each other: "
        "set enableDynamicWorker of the TFJob to false.",
    ),
    "no task": (MANY, None, f"TF_CONFIG tells of 3 processes, but its task has no type and no index: {SAY_WHICH}"),
    "no index": (
        {**MANY, "task": {"type": "worker"}},
        None,
        f"TF_CONFIG tells of 3 processes, but its task has no index: {SAY_WHICH}",
    ),
    "no type": (
        {**MANY, "task": {"index": 1, "type": None}},
        None,
        f"TF_CONFIG tells of 3 processes, but its task has no type: {SAY_WHICH}",
    ),
    "no task, and an evaluator in the cluster": (
        config({"chief": ["c:1"], "evaluator": ["e:1"]}),
        None,
        f"TF_CONFIG tells of 2 processes, but its task has no type and no index: {SAY_WHICH}",
    ),
    "no task, and an evaluator that only CLUSTER_SPEC lists": (
        config({"chief": ["c:1"]}),
        config({"workerpool3": ["e:1"]}),
        f"TF_CONFIG tells of 2 processes, but its task has no type and no index: {SAY_WHICH}",
    ),
    "a worker too many": (
        {**MANY, "task": {"type": "worker", "index": 2}},
        None,
        f"TF_CONFIG's task is worker 2, but its cluster names {COUNTED}",
    ),
    "a second chief": (
        {**MANY, "task": {"type": "chief", "index": 1}},
        None,
        f"TF_CONFIG's task is chief 1, but its cluster names {COUNTED}",
    ),
    "a role that nobody has": (
        {**MANY, "task": PS},
        None,
        f"TF_CONFIG's task is ps 0, but its cluster names {COUNTED}",
    ),
    "a chief among workers": (
        config({"worker": ["a:1"]}, CHIEF),
        None,
        "TF_CONFIG's task is chief 0, but its cluster names 1 worker, counted from 0: "
        "make the task one of these, or add its address.",
    ),
    "a negative index": (
        {**MANY, "task": {"type": "worker", "index": -1}},
        None,
        f"TF_CONFIG's task has the index -1: {WHOLE}",
    ),
    "true as an index": (
        {**MANY, "task": {"type": "worker", "index": True}},
        None,
        f"TF_CONFIG's task has the index true: {WHOLE}",
    ),
    "an index that the shell did not fill in": (
        {**MANY, "task": {"type": "worker", "index": ""}},
        None,
        f'TF_CONFIG\'s task has the index "": {WHOLE}',
    ),
    "a ps without a cluster": (
        {"task": PS},
        None,
        "TF_CONFIG's task is ps 0, but it has no cluster: "
        "name all processes in it, or unset it to train on this machine alone.",
    ),
    "a later worker without a cluster": (
        config({}, {"type": "worker", "index": "3"}),
        None,
        "TF_CONFIG's task is worker 3, but it has no cluster: "
        "name all processes in it, or unset it to train on this machine alone.",
    ),
    "two evaluators": (
        config({**FULL, "evaluator": ["e:1", "f:1"]}, CHIEF),
        None,
        f"TF_CONFIG tells of 2 evaluators: {ONE_EVALUATOR}",
    ),
    "a second evaluator, in the task": (
        {**MANY, "task": {"type": "evaluator", "index": 1}},
        None,
        f"TF_CONFIG tells of 2 evaluators: {ONE_EVALUATOR}",
    ),
    "three evaluators, as in the example of Vertex AI": (
        {**MANY, "task": CHIEF},
        config({**POOLS, "workerpool3": ["e:1", "f:1", "g:1"]}),
        f"CLUSTER_SPEC tells of 3 evaluators: {ONE_EVALUATOR}",
    ),
    "TonY's CLUSTER_SPEC alone does not say who this is": (
        None,
        {"worker": ["a:1", "b:1"]},
        f"CLUSTER_SPEC tells of 2 processes, but its task has no type and no index: {SAY_WHICH}",
    ),
    "a long value is cut": (
        config("x" * 100, CHIEF),
        None,
        f'TF_CONFIG\'s cluster is "{"x" * 59}...: expected an object such as {{"chief": ["host:2222"]}}.',
    ),
}


@pytest.mark.parametrize(("tf_config", "cluster_spec", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_refused(tf_config: Any, cluster_spec: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_cluster(text_of(tf_config), text_of(cluster_spec))
    assert str(caught.value) == sentence


def test_brackets_without_end_are_no_traceback() -> None:
    with pytest.raises(UsageError, match=r"TF_CONFIG is not JSON \(.*recursion"):
        read_cluster("[" * 100_000, None)


# id: the cluster, who trains where in it
PLACES: dict[str, tuple[Cluster, tuple[str, int, int, bool, bool]]] = {
    "a lone chief": (LONE, ("chief", 0, 1, True, True)),
    "a chief beside an evaluator": (Cluster("c:1", has_evaluator=True), ("chief", 0, 1, True, True)),
    "a chief of workers": (PAIR, ("chief", 0, 2, True, False)),
    "a chief of a ps": (Cluster("c:1", ps=("p:1",)), ("chief", 0, 1, True, False)),
    "the second worker": (Cluster("c:1", ("w:1", "v:1"), (), "worker", 1), ("worker 1", 2, 3, False, False)),
}


@pytest.mark.parametrize(("cluster", "place"), PLACES.values(), ids=PLACES)
def test_place(cluster: Cluster, place: tuple[str, int, int, bool, bool]) -> None:
    assert (cluster.name, cluster.position, cluster.trainers, cluster.is_chief, cluster.is_alone) == place


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        (Cluster("c:1", ps=("p:1",), role="ps"), "ps 0"),
        (Cluster("c:1", role="evaluator", has_evaluator=True), "evaluator"),
    ],
    ids=str,
)
def test_the_others_have_no_place_among_those_that_train(cluster: Cluster, name: str) -> None:
    assert (cluster.name, cluster.is_chief) == (name, False)
    with pytest.raises(ValueError, match=f"the {name} does not train"):
        _ = cluster.position


def test_tensorflow_is_not_told_of_the_evaluator_nor_of_roles_that_nobody_has() -> None:
    worker = Cluster("c:1", ("w:1",), (), "worker", 0, has_evaluator=True, notes=(GRPC,))
    assert worker.tf_config() == config({"chief": ["c:1"], "worker": ["w:1"]}, WORKER)
    assert Cluster("c:1", ps=("p:1",)).tf_config() == config({"chief": ["c:1"], "ps": ["p:1"]}, CHIEF)
    assert Cluster("", role="evaluator", has_evaluator=True).tf_config() == config({}, EVALUATOR)


def test_the_table_has_a_line_for_each_process() -> None:
    assert Cluster("c:1", ("w:1", "v:1"), ("p:1",), "worker", 1, has_evaluator=True).table() == [
        "   chief      c:1",
        "   worker 0   w:1",
        "-> worker 1   v:1",
        "   ps 0       p:1",
        "   evaluator  reads checkpoints",
    ]
    assert LONE.table() == ["-> chief  c:1"]
    assert Cluster("", role="evaluator", has_evaluator=True).table()[0] == "   chief      not told"


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True) | st.sampled_from(["[::1]", "10.0.0.7"])
ADDRESSES = st.builds("{}:{}".format, HOSTS, st.integers(1, 65535))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Any process of any well-formed cluster."""
    chief, *others = draw(st.lists(ADDRESSES, min_size=1, max_size=12, unique=True))
    cut = draw(st.integers(0, len(others)))
    workers, ps = tuple(others[:cut]), tuple(others[cut:])
    everybody = [("chief", 0), ("evaluator", 0)]
    everybody += [("worker", index) for index in range(len(workers))] + [("ps", index) for index in range(len(ps))]
    role, index = draw(st.sampled_from(everybody))
    return Cluster(chief, workers, ps, role, index, has_evaluator=role == "evaluator")  # type: ignore[arg-type]


@given(clusters())
@settings(deadline=None)
def test_the_canonical_form_is_read_back_equal(cluster: Cluster) -> None:
    assert read_cluster(json.dumps(cluster.tf_config()), None) == cluster


@given(st.lists(ADDRESSES, min_size=2, max_size=12, unique=True), st.booleans(), st.integers(0, 10))
@settings(deadline=None)
def test_processes_that_name_no_chief_agree_on_one(addresses: list[str], as_object: bool, servers: int) -> None:
    cut = min(servers, len(addresses) - 1)
    ps, workers = addresses[:cut], addresses[cut:]
    tasks = {str(index): address for index, address in enumerate(workers)} if as_object else workers
    read = [
        read_cluster(json.dumps(config({"ps": ps, "worker": tasks}, {"type": "worker", "index": index})), None)
        for index in range(len(workers))
    ]
    assert all(each is not None for each in read)
    assert [each.position for each in read if each] == list(range(len(workers)))
    assert {(each.chief, each.workers, each.ps) for each in read if each} == {
        (workers[0], tuple(workers[1:]), tuple(ps))
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ADDRESSES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "0", "1", "type", "index"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
TASKS = st.fixed_dictionaries({}, optional={"type": st.sampled_from([*NAMES, "x"]) | VALUES, "index": VALUES})
LISTED = st.dictionaries(st.sampled_from([*NAMES, "x"]), st.lists(ADDRESSES | VALUES, max_size=3) | VALUES, max_size=3)
CONFIGS = VALUES | st.fixed_dictionaries(
    {}, optional={"cluster": LISTED | VALUES, "task": TASKS | VALUES, "job": VALUES, "sparseCluster": VALUES}
)


@given(CONFIGS, CONFIGS)
@settings(deadline=None)
def test_anything_is_a_cluster_or_one_sentence(tf_config: Any, cluster_spec: Any) -> None:
    try:
        cluster = read_cluster(json.dumps(tf_config), json.dumps(cluster_spec))
    except UsageError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert sentence.startswith(("TF_CONFIG", "CLUSTER_SPEC"))
        assert sentence.endswith((".", "?"))
    else:
        assert cluster is None or sum(line.startswith("->") for line in cluster.table()) == 1

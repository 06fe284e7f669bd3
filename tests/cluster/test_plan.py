"""From a file and a command line to each process's argv and environment; nothing is run or written."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from trainer.cloud.specs import read_spec
from trainer.cluster.plan import Member, Plan, make_plan
from trainer.job.cluster import read_cluster
from trainer.job.errors import UsageError
from trainer.job.rehearsing import parse_rehearsal

MODEL = "def build_model(units: int = 4):\n    raise NotImplementedError\n"
CHIEF, WORKER, WORKER_1, PS, EVALUATOR = (
    Member("chief"), Member("worker"), Member("worker", 1), Member("ps"), Member("evaluator"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODEL)


def pool(count: int = 1, *args: str, **container: Any) -> dict[str, Any]:
    """A worker pool whose containers have these arguments."""
    return {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": count,
        "containerSpec": {"imageUri": "image:1", "args": list(args), **container},
    }


def planned(
    *argv: str, pools: list[Any] | None = None, environ: Mapping[str, str] | None = None, cpus: int = 8, **spec: Any
) -> Plan:
    """The plan of these flags and, where there are pools, a file with them."""
    found = None
    if pools is not None:
        pathlib.Path("config.yaml").write_text(yaml.safe_dump({"workerPoolSpecs": pools, **spec}))
        found = read_spec("config.yaml")
    settings, words = parse_rehearsal(argv)
    return make_plan(settings, words, found, environ or {}, cpus)


def ports_of(plan: Plan) -> dict[Member, int]:
    return {member: 2000 + place for place, member in enumerate(plan.members)}


ARGS = ("--model=mine.py", "--epochs=9", "--job-dir=gs://bucket/mine")


def test_each_process_has_the_argv_and_environment_of_its_replica() -> None:
    pools = [pool(1, *ARGS, env=[{"name": "MINE", "value": "1"}]), pool(2, *ARGS), pool(1, *ARGS), pool(1, *ARGS)]
    outside = {"PATH": "/bin", "AIP_MODEL_DIR": "gs://b", "CLOUD_ML_TRIAL_ID": "9", "TF_CONFIG": "{}"}
    plan = planned("--epochs=3", "--seed=7", pools=pools, environ=outside)
    assert plan.members == (CHIEF, WORKER, WORKER_1, PS, EVALUATOR)
    assert plan.argv() == ["--model=mine.py", "--epochs=3", "--seed=7", "--job-dir=runs/rehearsal-mine"]
    cluster = {"chief": ["127.0.0.1:2000"], "worker": ["127.0.0.1:2001", "127.0.0.1:2002"], "ps": ["127.0.0.1:2003"]}
    by_pool = {f"workerpool{place}": at for place, at in enumerate([*cluster.values(), ["127.0.0.1:2004"]])}
    shared = {
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2",
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_NUM_INTEROP_THREADS": "2",
    }
    for place, member in enumerate(plan.members):
        environ = plan.environ_of(member, ports_of(plan), "mark")
        told = {name: json.loads(environ.pop(name)) for name in ("TF_CONFIG", "CLUSTER_SPEC")}
        own = {"MINE": "1"} if member == CHIEF else {}
        assert environ == {**shared, **own, "TRAINER_REHEARSAL": f"mark/{member.role}-{member.index}/"}
        pool_name = f"workerpool{[0, 1, 1, 2, 3][place]}"
        assert told == {
            "TF_CONFIG": {
                "cluster": cluster,
                "environment": "cloud",
                "task": {"type": member.role, "index": member.index},
            },
            "CLUSTER_SPEC": {
                "cluster": by_pool,
                "environment": "cloud",
                "task": {"type": pool_name, "index": member.index},
            },
        }
    assert plan.notes == (
        "the cluster has a chief, 2 workers, a ps and an evaluator",
        "--job-dir=gs://bucket/mine is --job-dir=runs/rehearsal-mine here",
    )
    assert not os.path.exists("runs")


@pytest.mark.parametrize("argv", [(), ("--workers=2",), ("--evaluator",), ("--workers=1", "--ps=2", "--evaluator")])
def test_the_job_reads_the_cluster_that_is_meant(argv: tuple[str, ...]) -> None:
    plan = planned(*argv)
    roles = [member.role for member in plan.members]
    for member in plan.members:
        environ = plan.environ_of(member, ports_of(plan))
        cluster = read_cluster(environ.get("TF_CONFIG"), environ["CLUSTER_SPEC"])
        assert cluster is not None
        assert (cluster.role, cluster.index, cluster.name) == (member.role, member.index, member.name)
        assert (len(cluster.workers), len(cluster.ps)) == (roles.count("worker"), roles.count("ps"))
        assert cluster.has_evaluator == ("evaluator" in roles)


def test_a_single_replica_has_no_tf_config_in_the_cloud() -> None:
    plan = planned(pools=[pool(1, *ARGS)])
    assert plan.members == (CHIEF,)
    environ = plan.environ_of(CHIEF, ports_of(plan))
    assert "TF_CONFIG" not in environ
    assert json.loads(environ["CLUSTER_SPEC"])["cluster"] == {"workerpool0": ["127.0.0.1:2000"]}


@pytest.mark.parametrize(
    ("argv", "members"),
    [
        ((), (CHIEF, WORKER, WORKER_1)),
        (("--workers=1",), (CHIEF, WORKER)),
        (("--workers=0", "--evaluator"), (CHIEF, EVALUATOR)),
        (("--workers=1", "--ps=1", "--no-evaluator"), (CHIEF, WORKER, PS)),
    ],
)
def test_flags_scale_the_pools(argv: tuple[str, ...], members: tuple[Member, ...]) -> None:
    assert planned(*argv, pools=[pool(1, *ARGS), pool(2)]).members == members


def test_a_flag_keeps_an_evaluator_away() -> None:
    pools = [pool(1, *ARGS), {}, {}, pool()]
    assert planned(pools=pools).members == (CHIEF, EVALUATOR)
    assert planned("--no-evaluator", pools=pools).members == (CHIEF,)


def test_the_trials_of_a_study_can_be_rehearsed() -> None:
    pathlib.Path("needs.py").write_text("def build_model(units: int):\n    raise NotImplementedError\n")
    study = {
        "metrics": [{"metricId": "loss", "goal": "MINIMIZE"}],
        "parameters": [{"parameterId": "units", "integerValueSpec": {"minValue": 3, "maxValue": 8}}],
    }
    job = {"workerPoolSpecs": [pool(1, "--model=needs.py"), pool(1)]}
    content = {"displayName": "s", "maxTrialCount": 2, "studySpec": study, "trialJobSpec": job}
    pathlib.Path("study.yaml").write_text(yaml.safe_dump(content))
    settings, words = parse_rehearsal(["--config=study.yaml"])
    plan = make_plan(settings, words, read_spec("study.yaml"), {})
    assert plan.members == (CHIEF, WORKER)
    assert plan.argv() == ["--model=needs.py", "--job-dir=runs/rehearsal-needs", "--units=3"]
    assert plan.notes[1] == "a trial is rehearsed that has --units=3"


def test_only_a_first_start_is_fresh() -> None:
    plan = planned("--model=mine.py", "--fresh", "--job-dir=here/")
    assert plan.argv() == ["--model=mine.py", "--job-dir=here", "--fresh=true"]
    assert plan.argv(again=True) == ["--model=mine.py", "--job-dir=here"]


def test_folders_in_the_cloud_are_left_out_and_said() -> None:
    args = ("--model=mine.py", "--job-dir=/gcs/b/x", "--log-dir=gs://b/logs", "--export-dir=local")
    plan = planned(pools=[pool(1, *args)])
    assert plan.argv() == ["--model=mine.py", "--job-dir=runs/rehearsal-mine", "--export-dir=local"]
    assert plan.notes[1:] == (
        "--job-dir=/gcs/b/x is --job-dir=runs/rehearsal-mine here",
        "--log-dir=gs://b/logs is left out here",
    )


def test_threads_are_shared_by_those_that_compute() -> None:
    assert [planned("--workers=1", cpus=cpus).threads for cpus in (1, 4, 8)] == [1, 2, 4]
    assert planned("--workers=1", "--ps=4", cpus=4).threads == 2
    environ = planned("--workers=1", environ={"OMP_NUM_THREADS": "3"}).environ_of(CHIEF, {CHIEF: 1, WORKER: 2})
    assert environ["OMP_NUM_THREADS"] == "3"


def test_faults_on_purpose_do_not_use_up_the_restarts() -> None:
    plan = planned("--workers=1", "--kill=worker0@4", "--kill=chief@9", "--chaos=3", "--pause=worker@2:1")
    assert plan.max_restarts == 3 + 3
    assert [str(each) for each in plan.faults[:3]] == [
        "kill worker 0 at step 4",
        "kill chief at step 9",
        "pause worker 0 for 1 s at step 2",
    ]
    assert planned("--max-restarts=0", "--pause=chief@2:1").max_restarts == 0


def test_what_containers_would_run_is_said() -> None:
    pools = [pool(1, *ARGS, command=["bash"])]
    pools[0]["machineSpec"] |= {"acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 1}
    notes = planned(pools=pools).notes
    assert "the chief pool's command is not run: trainer.task runs in its place" in notes
    assert "the chief pool's NVIDIA_TESLA_T4 is not here: processes compute with what this machine has" in notes


@pytest.mark.parametrize(
    ("argv", "pools", "words"),
    [
        (["--wrkers=2"], None, "unknown flag --wrkers=2: did you mean --workers?"),
        (["--epoch=2"], None, "unknown flag --epoch=2: did you mean --epochs?"),
        (["--workers=-1"], None, "--workers=-1: expected a whole number of at least 0"),
        (["--kill=worker@x"], None, "--kill=worker@x: expected ROLE@STEP, such as worker0@40"),
        (["--pause=chief@3:0"], None, "--pause=chief@3:0: expected ROLE@STEP:SECS"),
        (["--kill=worker0@4"], None, "--kill=worker0@4: this cluster has no worker 0; expected one of chief."),
        (["--workers=1", "--pause=worker1@4:1"], None, "has no worker 1; expected one of chief, worker0."),
        (["--job-dir=gs://b/x"], None, "--job-dir=gs://b/x: a rehearsal is on this machine"),
        (["--workers=20"], None, "make 21 processes: expected 16 at most"),
        ([], [pool(1, *ARGS), pool(100)], "config.yaml and flags make 101 processes"),
        ([], [pool(2, *ARGS)], "workerPoolSpecs[0].replicaCount=2 of the chief pool: expected 1: a job has one"),
        ([], [pool(1, *ARGS), pool(0)], "workerPoolSpecs[1].replicaCount=0 of the worker pool: expected at least 1"),
        ([], [{}, pool(1, *ARGS)], "config.yaml has no first worker pool"),
        ([], [pool()] * 5, "config.yaml has 5 worker pools: expected four at most"),
        ([], [pool(1, "--epochs=1"), pool(1, "--epochs=2")], "the args of the worker pools differ"),
        ([], [{**pool(), "replicaCount": "many"}], "replicaCount"),
        ([], [pool(1, "--unitz=3")], "unknown flag --unitz=3"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(argv: list[str], pools: list[Any] | None, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned(*argv, pools=pools)
    assert words in str(refused.value)

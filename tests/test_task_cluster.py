"""Several processes that are one job: they learn what one learns, stop together, and never hang."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import time

import pytest

from tests.members import at_work, cluster
from tests.runner import (
    assert_finished,
    assert_same_weights,
    checkpoint_steps,
    flags,
    read_evaluations,
    read_json,
    run,
    write_project,
)

pytestmark = pytest.mark.timeout(600)
DEADLINE_SECS = 240.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model, its data, and in `alone` the job of a single process: 40 steps, evaluated each 20."""
    folder = write_project(tmp_path_factory.mktemp("cluster"))
    run(folder, job("alone")).ok()
    return folder


def job(job_dir: str, *more: str) -> list[str]:
    return flags("--eval-every-steps=20", *more, steps=40, job_dir=job_dir)


def test_devices_of_one_machine_learn_what_one_device_learns(project: pathlib.Path) -> None:
    done = run(project, job("mirrored", "--cpu-devices=2")).ok()
    assert "mirrored (there are 2 logical CPUs): 2 replicas, 10 examples a step each" in done.err
    assert_finished(project / "mirrored", 40)
    assert_same_weights(project / "alone", project / "mirrored", 40, atol=1e-5)
    effective = read_json(project / "mirrored" / "manifest.json")["effective"]
    assert (effective["strategy"], effective["replicas"], effective["per_replica_batch_size"]) == ("mirrored", 2, 10)


def test_machines_in_step_learn_what_one_learns(project: pathlib.Path) -> None:
    with at_work(project, cluster(chief=1, worker=1), job("step")) as members:
        chief, worker = (members[name].finish(DEADLINE_SECS).ok() for name in ("chief-0", "worker-0"))
    assert "multi_worker_mirrored" in chief.err
    assert "worker-0: the run is over at step 40" in worker.err
    result = assert_finished(project / "step", 40)
    assert result["metrics"] == pytest.approx(read_json(project / "alone" / "result.json")["metrics"], abs=1e-5)
    assert_same_weights(project / "alone", project / "step", 40, atol=1e-5)
    beats = [read_json(project / "step" / "cluster" / f"{name}.json") for name in ("chief", "worker-0")]
    assert [each["share"] for each in beats] == [[0, 2], [1, 2]]
    assert [each["examples"] for each in beats] == [400, 400]
    with at_work(project, cluster(chief=1, worker=1), job("step")) as members:
        assert "already finished" in members["chief-0"].finish(DEADLINE_SECS).ok().out
        members["worker-0"].finish(DEADLINE_SECS).ok()


def test_with_parameter_servers_the_evaluator_evaluates(project: pathlib.Path) -> None:
    roles = cluster(chief=1, worker=1, ps=1, evaluator=1)
    with at_work(project, roles, job("servers", "--keep-checkpoints=9")) as members:
        done = {name: each.finish(DEADLINE_SECS).ok() for name, each in members.items()}
    assert "parameter_server" in done["chief-0"].err
    assert "evaluation at step" in done["evaluator-0"].err
    assert "evaluation at step" not in done["chief-0"].err
    last = checkpoint_steps(project / "servers")[-1]
    assert last >= 40
    assert max(read_evaluations(project / "servers")) == last
    assert_finished(project / "servers", last)


def test_a_worker_that_stands_still_ends_the_job_with_the_stacks(project: pathlib.Path) -> None:
    argv = flags("--stall-secs=15", "--eval-every-steps=100000", steps=100_000, job_dir="stalled")
    with at_work(project, cluster(chief=1, worker=1), argv) as members:
        chief, worker = members["chief-0"], members["worker-0"]
        chief.wait_for(r"^step [1-9]\d+/")
        worker.process.suspend()
        ended = chief.finish(90)
    assert ended.exit_code == 134
    assert "trainer.task: chief: no step for 15 s (--stall-secs) at step" in ended.err
    assert re.search(r"Thread 0x\w+ .*most recent call first", ended.err)
    assert "in _call_tf_sessionrun" in ended.err


def test_ctrl_c_ends_a_chief_whose_step_never_does(project: pathlib.Path) -> None:
    """Python's own handler cannot run there."""
    argv = flags("--eval-every-steps=100000", steps=100_000, job_dir="stuck")
    with at_work(project, cluster(chief=1, worker=1), argv) as members:
        chief, worker = members["chief-0"], members["worker-0"]
        chief.wait_for(r"^step [1-9]\d+/")
        worker.process.suspend()
        time.sleep(3.0)  # it waits for the worker now
        chief.send(signal.SIGINT)
        chief.wait_for(r"^chief: stopping, once step \d+ ends; a second signal ends it at once")
        chief.send(signal.SIGINT)
        ended = chief.finish(20)
    assert ended.exit_code == 130
    assert re.search(r"trainer.task: chief: stopped, though step \d+ did not end; the same command goes on", ended.err)
    assert read_json(project / "stuck" / "cluster" / "run.json")["state"] == "stopped"


def test_a_worker_that_is_told_to_stop_has_the_chief_save(project: pathlib.Path) -> None:
    argv = flags("--eval-every-steps=100000", steps=100_000, job_dir="stopped")
    with at_work(project, cluster(chief=1, worker=1), argv) as members:
        members["chief-0"].wait_for(r"^step [1-9]\d+/")
        members["worker-0"].send(signal.SIGTERM)
        chief, worker = (members[name].finish(DEADLINE_SECS) for name in ("chief-0", "worker-0"))
    assert (chief.exit_code, worker.exit_code) == (143, 143)
    step = int(re.search(r"stopped at step (\d+) of 100000", chief.err)[1])  # type: ignore[index]
    assert checkpoint_steps(project / "stopped")[-1] == step
    assert read_json(project / "stopped" / "result.json")["status"] == "stopped"


def test_a_lone_chief_evaluates(project: pathlib.Path) -> None:
    with at_work(project, cluster(chief=1), job("lone")) as members:
        members["chief-0"].finish(DEADLINE_SECS).ok()
    assert_finished(project / "lone", 40)
    assert_same_weights(project / "alone", project / "lone", 40)


@pytest.mark.parametrize(
    ("roles", "more", "words"),
    [
        pytest.param("chief worker", "--strategy=mirrored", "--strategy=mirrored is for one machine", id="one"),
        pytest.param("chief worker ps", "--strategy=multi_worker_mirrored", "has parameter servers", id="ps"),
        pytest.param("chief", "--strategy=parameter_server", "needs a cluster, and there is one machine", id="alone"),
        pytest.param("chief", "--require-accelerator", "there is no GPU and no TPU here", id="no accelerator"),
        pytest.param("chief", "--cpu-devices=3", "--batch-size=20 is that of all 3 replicas together", id="batch"),
    ],
)
def test_a_mistake_gets_one_sentence(project: pathlib.Path, roles: str, more: str, words: str) -> None:
    config = json.dumps({"cluster": cluster(**dict.fromkeys(roles.split(), 1)), "task": {"type": "chief", "index": 0}})
    done = run(project, job("wrong", more), {"TF_CONFIG": config})
    assert (done.exit_code, words in done.sentences[-1]) == (2, True), done.err
    assert not (project / "wrong" / "manifest.json").exists()

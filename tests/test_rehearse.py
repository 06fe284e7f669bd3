"""`python -m trainer.rehearse` with real jobs: killed, paused, stopped; and mistakes, found before anything runs."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests import cluster_chaos
from tests.cluster_chaos import CLUSTERS, Ended, assert_whole, job_flags, of_rehearsal, rehearse
from tests.runner import environ, read_json, write_project
from trainer.rehearse import main

SMALL = ("--train-steps=400", "--eval-every-steps=200")


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return write_project(tmp_path)


def small(*more: str) -> list[str]:
    """Flags of a job that is trained in some seconds."""
    kept = [flag for flag in job_flags() if not flag.startswith(("--train-steps", "--eval-every", "--stall"))]
    return [*kept, *SMALL, *more]


def write_config(folder: pathlib.Path, *counts: int, args: tuple[str, ...] = ()) -> None:
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "containerSpec": {"imageUri": "image:1", "args": [*args]}}
    pools = [{**pool, "replicaCount": count} if count else {} for count in counts]
    (folder / "config.yaml").write_text(yaml.safe_dump({"workerPoolSpecs": pools}))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--wokers=2"], "unknown flag --wokers=2: did you mean --workers?"),
        (["--config=none.yaml"], "none.yaml: no such file; give a YAML or JSON file such as config.yaml."),
        (
            ["--job-dir=gs://b/x"],
            "--job-dir=gs://b/x: a rehearsal is on this machine, so name a folder of it, or leave ",
        ),
        (["--kill=worker0@5"], "--kill=worker0@5: this cluster has no worker 0; expected one of chief."),
        (["--model=none.py"], "none.py"),
    ],
)
def test_a_mistake_is_one_sentence(
    argv: list[str], sentence: str, project: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("trainer.rehearse: ")
    assert sentence in line
    assert not (project / "runs").exists()


def test_a_file_of_the_old_platform_is_sent_to_the_converter(
    project: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "config.yaml").write_text("trainingInput:\n  scaleTier: BASIC\n")
    assert main([]) == 2
    assert "--convert-legacy config.yaml writes what Vertex AI takes" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_file_says_who_takes_part_and_a_mistake_of_a_process_ends_it(project: pathlib.Path) -> None:
    args = ("--model=model.py", "--job-dir=gs://bucket/mine", "--label-column=none")
    write_config(project, 1, 1, 0, 1, args=args)
    ended = rehearse(project, "--train-files=train.csv", "--eval-files=eval.csv")
    assert ended.exit_code == 2
    assert "rehearsal | the cluster has a chief, a worker and an evaluator." in ended.err
    assert "rehearsal | --job-dir=gs://bucket/mine is --job-dir=runs/rehearsal-model here." in ended.err
    assert re.search(
        r"trainer.rehearse: (chief|worker 0|evaluator) ended with exit code 2; its last words: ", ended.err
    )
    assert read_json(project / "runs/rehearsal-model/cluster/verdict.json")["red"] == ["finished"]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("strategy", "faults", "restarted"),
    [
        ("multi_worker_mirrored", ("--kill=worker1@300",), {"chief", "worker 0", "worker 1"}),
        ("parameter_server", ("--kill=ps0@300", "--kill=chief@600"), {"ps 0", "chief"}),
    ],
)
def test_a_cluster_survives(strategy: str, faults: tuple[str, ...], restarted: set[str], project: pathlib.Path) -> None:
    ended = rehearse(project, *CLUSTERS[strategy], *job_flags(), *faults)
    assert ended.exit_code == 0, said(ended)
    assert_whole(project / "job")
    verdict = read_json(project / "job/cluster/verdict.json")
    assert verdict["strategy"] == strategy
    assert restarted <= {name for name, each in verdict["members"].items() if each["restarts"]}
    again = rehearse(project, *CLUSTERS[strategy], *job_flags())
    assert again.exit_code == 0, said(again)
    assert "no step was left to train" in again.out


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_pause_within_the_limit_changes_nothing_and_one_beyond_it_ends_the_job_with_stacks(
    project: pathlib.Path,
) -> None:
    argv = ("--workers=1", *small("--stall-secs=40"), "--max-restarts=0")
    short = rehearse(project, *argv, "--pause=worker0@100:4")
    assert short.exit_code == 0, said(short)
    long = rehearse(project, *argv, "--fresh", "--pause=worker0@100:500")
    assert long.exit_code == 3, said(long)
    assert "chief | Thread 0x" in long.err or "chief | Current thread 0x" in long.err
    assert re.search(r"stalled \(exit code 134\) after 0 restarts", long.err.splitlines()[-1])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", CLUSTERS)
def test_ctrl_c_saves_and_the_same_command_goes_on(strategy: str, project: pathlib.Path) -> None:
    argv = [*CLUSTERS[strategy], *job_flags()]
    with subprocess.Popen(
        [sys.executable, "-m", "trainer.rehearse", *argv], env=environ(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"rehearsal \| chief: training, step [1-9]", line):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    found = re.fullmatch(
        r"trainer.rehearse: stopped at step (\d+), with a checkpoint; the same command goes on\.", last
    )
    assert found, err
    assert of_rehearsal(project) == []
    ended = rehearse(project, *argv)
    assert ended.exit_code == 0, said(ended)
    assert_whole(project / "job")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kill_9_of_the_rehearsal_leaves_nothing_behind(project: pathlib.Path) -> None:
    argv = [*CLUSTERS["multi_worker_mirrored"], *job_flags()]
    command = [sys.executable, "-m", "trainer.rehearse", *argv]
    with subprocess.Popen(command, env=environ(), stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 200
        while not (project / "job/cluster/worker-1.json").exists():
            assert time.monotonic() < until
            time.sleep(0.2)
        process.kill()
    until = time.monotonic() + 60
    while of_rehearsal(project) and time.monotonic() < until:
        time.sleep(0.2)
    assert of_rehearsal(project) == []


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("strategy", "seed"), [*zip(CLUSTERS, (1, 2), strict=True)])
def test_chaos(strategy: str, seed: int, tmp_path: pathlib.Path) -> None:
    assert cluster_chaos.run_one(tmp_path, strategy, seed)


def said(ended: Ended) -> str:
    """All that a rehearsal has printed."""
    return f"{ended.out}\n{ended.err}"

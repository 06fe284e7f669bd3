"""A member of a cluster without TensorFlow, that keeps the contract of the board and dies as the real ones do.

Without parameter servers all that train go in step over the chief's port: when one is lost the others hang, and only
starting all of them again helps. With them each counts the steps of all in a file, and needs every server to be there.
A step's examples are divided by position. What goes wrong is told by variables:

    FAKE_STEP_SECS=0.02        how long a step takes
    FAKE_EXIT=worker-0@20:3    that member ends with that code from that step on; ...:3! each time, else once
    FAKE_MUTE=worker-0@20      that member stops from there on, without a sign of life, once
    FAKE_CLASH=chief           that member finds its port taken, once; ...! each time
    FAKE_WRONG=share|examples|export|evaluation    what is not as it should be
    FAKE_STAYS=1               a parameter server does not end by itself
    FAKE_SAVE_SECS=4           how long the chief saves after SIGTERM
    FAKE_DEAF=1                SIGTERM is not heard
    FAKE_CHILD=1               the chief starts a process in a session of its own
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

EXAMPLES, SAVE_STEPS, BEAT_SECS = 200, 10, 0.1
FLAGS = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
FOLDER = pathlib.Path(FLAGS["job-dir"])
TOTAL, BATCH = int(FLAGS["train-steps"]), int(FLAGS["batch-size"])
STALL_SECS = float(FLAGS.get("stall-secs", "600"))
OPTIONS = {name: value for name, value in os.environ.items() if name.startswith("FAKE_")}
ROLES = ("chief", "worker", "ps", "evaluator")


class Told:
    """Who this is, and who else is there."""

    def __init__(self) -> None:
        spec = json.loads(os.environ["CLUSTER_SPEC"])
        config = json.loads(os.environ.get("TF_CONFIG", "{}"))
        pools = {role: spec["cluster"].get(f"workerpool{place}", []) for place, role in enumerate(ROLES)}
        self.role = ROLES[int(spec["task"]["type"][-1])]
        self.index = spec["task"]["index"]
        if config:
            assert config["task"] == {"type": self.role, "index": self.index}
            assert config["cluster"] == {role: at for role, at in pools.items() if at and role != "evaluator"}
        self.address = pools[self.role][self.index]
        self.chief, self.ps = pools["chief"][0], pools["ps"]
        self.trainers, self.has_evaluator = 1 + len(pools["worker"]), bool(pools["evaluator"])
        self.position = 0 if self.role == "chief" else self.index + 1
        self.entry = self.role if self.role in ("chief", "evaluator") else f"{self.role}-{self.index}"


TOLD = Told()
STOPPED: list[int] = []


class Board:
    """What this member says of itself, with a beat."""

    def __init__(self) -> None:
        self.entry: dict[str, Any] = {"attempt": "", "beat": 0, "step": 0}
        self.moved_at = time.monotonic()
        self.is_mute = False
        self._lock = threading.Lock()
        if TOLD.role in ("chief", "worker"):
            wrong = OPTIONS.get("FAKE_WRONG") == "share"
            self.entry |= {"examples": 0, "share": [0 if wrong else TOLD.position, TOLD.trainers]}
        threading.Thread(target=self._beat, daemon=True).start()

    def put(self, **said: Any) -> None:
        """Say something else; a change of the step is a sign of progress."""
        with self._lock:
            if said.get("step", self.entry["step"]) != self.entry["step"] or TOLD.role in ("ps", "evaluator"):
                self.moved_at = time.monotonic()
            self.entry |= said
            if TOLD.role != "ps":
                put_json(FOLDER / "cluster" / f"{TOLD.entry}.json", self.entry)

    def _beat(self) -> None:
        while not self.is_mute:
            self.put(beat=self.entry["beat"] + 1)
            if time.monotonic() - self.moved_at > STALL_SECS:
                print(f"no step for {STALL_SECS:g} s:", file=sys.stderr)
                faulthandler.dump_traceback()
                os._exit(134)
            time.sleep(BEAT_SECS)


def put_json(path: pathlib.Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(value))
    unfinished.rename(path)


def read_run() -> dict[str, Any]:
    path = FOLDER / "cluster" / "run.json"
    return json.loads(path.read_text()) if path.exists() else {}


def checkpoint() -> int:
    path = FOLDER / "checkpoint"
    return int(path.read_text()) if path.exists() else 0


def save(step: int) -> None:
    path = FOLDER / "checkpoint"
    path.with_suffix(".new").write_text(str(step))
    path.with_suffix(".new").rename(path)


def once(option: str, value: str) -> bool:
    """Whether an option's misfortune is due; one without `!` happens once."""
    if value.endswith("!"):
        return True
    marker = FOLDER / f"{option}.happened"
    if marker.exists():
        return False
    marker.touch()
    return True


def misfortune(board: Board, step: int) -> None:
    """What the variables want of this member at a step."""
    who, _, at = OPTIONS.get("FAKE_EXIT", "@0:").partition("@")
    if who == TOLD.entry and step >= int(at.partition(":")[0]) and once("FAKE_EXIT", OPTIONS["FAKE_EXIT"]):
        print(f"something went wrong at step {step}.", file=sys.stderr, flush=True)
        os._exit(int(OPTIONS["FAKE_EXIT"].rpartition(":")[2].rstrip("!")))
    who, _, at = OPTIONS.get("FAKE_MUTE", "@0").partition("@")
    if who == TOLD.entry and step >= int(at) and once("FAKE_MUTE", OPTIONS["FAKE_MUTE"]):
        board.is_mute = True
        hang()


def hang() -> None:
    while True:
        time.sleep(1)


def listen() -> socket.socket:
    """Take this member's port."""
    clash = OPTIONS.get("FAKE_CLASH", "")
    host, port = TOLD.address.split(":")
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if clash.rstrip("!") == TOLD.entry and once("FAKE_CLASH", clash):
            raise OSError("Address already in use")
        server.bind((host, int(port)))
    except OSError as error:
        print(f"Could not start gRPC server: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    server.listen()
    return server


class InStep:
    """All that train go together: a worker asks the chief, who answers when all have asked."""

    def __init__(self, server: socket.socket) -> None:
        self.step = checkpoint()
        self.sockets = []
        if TOLD.role == "chief":
            self.sockets = [server.accept()[0] for _ in range(TOLD.trainers - 1)]
        else:
            while not self.sockets:
                with contextlib.suppress(OSError):
                    host, port = TOLD.chief.split(":")
                    self.sockets = [socket.create_connection((host, int(port)))]
                time.sleep(0.02)

    def next(self) -> int:
        for each in self.sockets:
            with contextlib.suppress(OSError):
                if TOLD.role != "chief":
                    each.sendall(b"s")
                if each.recv(1) == b"s":
                    continue
            hang()
        for each in self.sockets if TOLD.role == "chief" else []:
            each.sendall(b"s")
        self.step += 1
        return self.step


class ByServers:
    """Each on its own; the servers keep the step."""

    def __init__(self) -> None:
        self.path = FOLDER / "step"
        self.step = int(self.path.read_text() or 0) if self.path.exists() else 0

    def next(self) -> int:
        for address in TOLD.ps:
            host, port = address.split(":")
            while not STOPPED:
                with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                    break
                time.sleep(0.05)
        with open(self.path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            self.step = int(file.read() or 0) + 1
            file.truncate(0)
            file.write(str(self.step))
        return self.step


def part_of(step: int) -> int:
    """This member's part of a step's examples."""
    place = (step - 1) % -(-EXAMPLES // BATCH)
    batch = min(BATCH, EXAMPLES - place * BATCH)
    return batch // TOLD.trainers + (TOLD.position < batch % TOLD.trainers)


def train(board: Board, run: dict[str, Any]) -> int:
    steps = ByServers() if TOLD.ps else InStep(listen())
    if TOLD.ps:
        listen()
    step = steps.step
    board.put(step=step, doing="training", attempt=read_run().get("attempt", ""))
    while step < TOTAL and not STOPPED:
        time.sleep(float(OPTIONS.get("FAKE_STEP_SECS", "0.02")))
        step = steps.next()
        trained = board.entry["examples"] + part_of(step)
        board.put(step=step, examples=trained)
        print(f"step {step}/{TOTAL}  loss 0.5", file=sys.stderr)
        misfortune(board, step)
        if TOLD.role == "chief" and (step % SAVE_STEPS == 0 or step >= TOTAL or STOPPED):
            save(step)
            put_json(FOLDER / "cluster" / "run.json", {**run, "step": step})
    if TOLD.role == "chief" and checkpoint() < step:
        save(step)  # a chief that is started again may find nothing left to train
    if TOLD.role == "chief" and OPTIONS.get("FAKE_WRONG") == "examples":
        board.put(examples=board.entry["examples"] + 1)
    return step


def evaluate(step: int) -> None:
    if OPTIONS.get("FAKE_WRONG") == "evaluation":
        step -= 1
    with open(FOLDER / "evaluations.jsonl", "a") as file:
        file.write(json.dumps({"global_step": step, "loss": 0.5}) + "\n")


def export() -> None:
    for kind in ("latest", "best", "final"):
        passed = OPTIONS.get("FAKE_WRONG") != "export" or kind != "best"
        put_json(FOLDER / "export" / kind / "1700000000" / "verification.json", {"passed": passed})


def chief(board: Board) -> None:
    if OPTIONS.get("FAKE_CHILD"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (FOLDER / "child").write_text(str(child.pid))
    run = {
        "attempt": uuid.uuid4().hex,
        "state": "running",
        "step": checkpoint(),
        "total_steps": TOTAL,
        "strategy": "parameter_server" if TOLD.ps else "multi_worker_mirrored",
        "evaluated_by": "evaluator" if TOLD.has_evaluator else "chief",
        "early": False,
        "why": "",
        "start_step": checkpoint(),
        "train_examples": EXAMPLES,
    }
    put_json(FOLDER / "cluster" / "run.json", run)
    board.put(attempt=run["attempt"])
    step = train(board, run)
    run["step"] = step
    if STOPPED:
        time.sleep(float(OPTIONS.get("FAKE_SAVE_SECS", "0")))
        put_json(FOLDER / "cluster" / "run.json", {**run, "state": "stopped", "why": "a signal"})
        sys.exit(128 + STOPPED[0])
    if TOLD.has_evaluator:
        board.put(doing="waiting")
        run["state"] = "trained"
        put_json(FOLDER / "cluster" / "run.json", run)
        wait_for_evaluator(run["attempt"])
    else:
        board.put(doing="evaluating")
        evaluate(step)
        export()
    put_json(FOLDER / "cluster" / "run.json", {**run, "state": "finished"})


def wait_for_evaluator(attempt: str) -> None:
    path = FOLDER / "cluster" / "evaluator.json"
    while not path.exists() or not (found := json.loads(path.read_text())).get("done") or found["attempt"] != attempt:
        if STOPPED:
            sys.exit(128 + STOPPED[0])
        time.sleep(0.05)


def worker(board: Board) -> None:
    train(board, {})
    if STOPPED:
        sys.exit(128 + STOPPED[0])


def ps(board: Board) -> None:
    before = read_run()  # of an earlier job, if it says that this has ended
    stale = before.get("attempt") if before.get("state") != "running" else None
    server = listen()
    server.setblocking(False)
    while OPTIONS.get("FAKE_STAYS") or not (
        (run := read_run()).get("state") in ("trained", "finished", "stopped") and run["attempt"] != stale
    ):
        with contextlib.suppress(OSError):
            server.accept()[0].close()
        if STOPPED:
            sys.exit(128 + STOPPED[0])
        time.sleep(0.02)


def evaluator(board: Board) -> None:
    seen = 0
    while True:
        run = read_run()
        board.put(attempt=run.get("attempt", ""))
        if checkpoint() > seen:
            seen = checkpoint()
            misfortune(board, seen)
            evaluate(seen)
            board.put(step=seen)
        if run.get("state") == "trained" and seen >= run["step"] and not board.entry.get("done"):
            export()
            board.put(done=True)
        if run.get("state") == "finished" and seen >= run["step"]:
            return
        if STOPPED:
            sys.exit(128 + STOPPED[0])
        time.sleep(0.05)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Keep when and how this run started."""
    with open(FOLDER / f"{TOLD.entry}.starts", "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "argv": sys.argv[1:], "env": dict(os.environ)}) + "\n")
    yield


if __name__ == "__main__":
    if not OPTIONS.get("FAKE_DEAF"):
        signal.signal(signal.SIGTERM, lambda signum, frame: STOPPED.append(signum))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with noted():
        {"chief": chief, "worker": worker, "ps": ps, "evaluator": evaluator}[TOLD.role](Board())

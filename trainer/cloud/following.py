"""What can be done with a job that was submitted: look at it, read its log, end it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainer.cloud.rest import Rest
from trainer.cloud.vertex import JobName, JobState, Sender, find_job
from trainer.cloud.watch import exit_code_of, watch
from trainer.job.errors import Interrupted
from trainer.job.submission import PROG, Following


@contextmanager
def sender_of(via: str) -> Iterator[Sender]:
    """Who talks to the service: gcloud where it is asked for or installed, else the REST API. Raises UsageError."""
    from trainer.cloud.gcloud import Gcloud, find_program

    if via == "gcloud" or (via == "auto" and find_program()):
        yield Gcloud()
    else:
        with Rest() as rest:
            yield rest


def command(verb: str, name: str) -> str:
    """The command that does something with a job."""
    return f"{PROG} {verb} {shlex.quote(name)}"


def status(settings: Following, project: str | None, region: str | None) -> int:
    """Print all that is known of a job; 0 unless it failed. Raises UsageError, CloudError."""
    with sender_of(settings.via) as sender:
        state = find_job(sender, str(settings.job), project, region)
    print("\n".join(described(state)), flush=True)
    return exit_code_of(state)


def logs(settings: Following, project: str | None, region: str | None) -> int:
    """Print a job's log, as it grows until the job ends; 0 unless it failed. Raises UsageError, CloudError."""
    from trainer.cloud.logs import follow_logs, logging_api, read_logs

    with sender_of(settings.via) as sender, Rest() as rest:
        state = find_job(sender, str(settings.job), project, region)
        api = logging_api(rest, JobName.parse(state.name).region)
        lines = follow_logs(api, state.name, lambda: sender.get(state.name).is_over)
        try:
            for line in lines if settings.follow else read_logs(api, state.name):
                print(line, flush=True)
        except KeyboardInterrupt:
            raise left(state.name) from None
        return exit_code_of(sender.get(state.name))


def cancel(settings: Following, project: str | None, region: str | None) -> int:
    """Ask for a job's end; one that is over is left as it is. Raises UsageError, CloudError."""
    with sender_of(settings.via) as sender:
        state = find_job(sender, str(settings.job), project, region)
        if state.is_over:
            print(f"{state.name} is over: {state.word}.")
            return 0
        sender.cancel(state.name)
    print(f"{state.name} is asked to end. See it end with: {command('status', state.name)}")
    return 0


def wait(sender: Sender, name: str) -> int:
    """Tell each change of a job's state until it is over; 0 where it succeeded. Raises CloudError, Interrupted."""
    state = None
    try:
        for state in watch(sender, name):
            print(changed(state), flush=True)
    except KeyboardInterrupt:
        raise left(name) from None
    return exit_code_of(state) if state else 0


def left(name: str) -> Interrupted:
    """What to say when the user looks away from a job."""
    return Interrupted(
        f"stopped looking; the job goes on. Its state: {command('status', name)}; its end: {command('cancel', name)}"
    )


def changed(state: JobState) -> str:
    """A job's state in a line, and since when."""
    at = state.ended or state.started or state.created
    return f"{f'{at:%Y-%m-%d %H:%M:%S} UTC  ' if at else ''}{state.word}"


def described(state: JobState) -> list[str]:
    """All that is known of a job, in lines."""
    times = {"created": state.created, "started": state.started, "ended": state.ended}
    lines = [state.name, f"  called   {state.display_name}", f"  state    {state.word}"]
    lines += [f"  {name:8} {at:%Y-%m-%d %H:%M:%S} UTC" for name, at in times.items() if at]
    if state.started and state.ended:
        lines.append(f"  took     {(state.ended - state.started).total_seconds():,.0f} s")
    return lines


VERBS: dict[str, Callable[[Following, str | None, str | None], int]] = {
    "status": status,
    "logs": logs,
    "cancel": cancel,
}

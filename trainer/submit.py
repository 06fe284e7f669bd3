"""Send a training job, or a study of many, to Vertex AI: `python -m trainer.submit --help`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.door import answer
from trainer.job.environment import Environment
from trainer.job.findings import Finding, errors_of
from trainer.job.submission import (
    DOES,
    Following,
    Submission,
    parse_following,
    parse_submission,
    project_and_region,
)
from trainer.training.stopping import StopRequest

if TYPE_CHECKING:
    from trainer.cloud.submitting import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, do what they say, return the exit code (the help page lists them)."""
    return answer("trainer.submit", run, argv, "stopped: nothing was submitted.")


def run(argv: list[str], stop: StopRequest) -> int:
    """Do what the flags say. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    try:
        return act(argv)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def act(argv: list[str]) -> int:
    """Look at a job, convert a file, or submit. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    if argv and argv[0] in DOES:
        return follow(argv[0], parse_following(argv[0], argv[1:]))
    settings, words = parse_submission(argv)
    if settings.convert_legacy:
        from trainer.cloud.legacy import write_conversion

        print(write_conversion(settings.convert_legacy, settings.output).report)
        return 0
    return submit(settings, words)


def submit(settings: Submission, words: list[str]) -> int:
    """Plan, check, stage, send; or only show. Raises TrainerError."""
    from trainer.cloud import following, submitting

    with tempfile.TemporaryDirectory(prefix="keras-trainer-") as scratch:
        plan = submitting.plan(settings, words, os.environ, scratch)
        found = checked(plan) if settings.check else []
        if settings.dry_run:
            sys.stdout.write(submitting.render(plan.request, settings.dry_run_format))
            return 0
        if errors_of(found):
            print("trainer.submit: nothing was sent, for the errors above; mend them first.", file=sys.stderr)
            return 2
        submitting.stage(plan)
    with following.sender_of(settings.via) as sender:
        name = sender.create(plan.request)
        print("\n".join(submitting.next_steps(name)), flush=True)
        return following.wait(sender, name) if settings.wait else 0


def checked(plan: Plan) -> list[Finding]:
    """All findings, shown on stderr; a step of training is tried only before something is sent."""
    from trainer.check import check, report
    from trainer.cloud import submitting
    from trainer.cloud.costs import read_prices
    from trainer.cloud.registry import look_at
    from trainer.cloud.rules import check_labels, check_region

    settings, region = plan.settings, plan.request.region
    prices = read_prices(settings.prices) if settings.prices else None
    location = None if settings.dry_run else submitting.bucket_location(plan)
    elsewhere = errors_of(check_region(region, location))  # told soon: no step of training is worth waiting for then
    found = [*submitting.unreachable(plan.parsed.job), *check_labels(plan.request.body.get("labels"))]
    found += check(
        plan.sent_spec,
        plan.parsed,
        Environment(),
        region=None if region in submitting.PLACEHOLDERS else region,
        bucket_location=location,
        via=None if settings.via == "auto" else settings.via,
        local=not settings.dry_run and not elsewhere,
    )
    missing, unknown = look_at(submitting.images(plan), ask=not settings.dry_run)
    found += missing
    print("\n".join([report(found, plan.sent_spec, prices), *unknown]), file=sys.stderr, flush=True)
    return found


def follow(verb: str, settings: Following) -> int:
    """Show a job's state or its log, or end it. Raises TrainerError."""
    from trainer.cloud import following

    project, region = project_and_region(settings.project, settings.region, os.environ)
    return following.VERBS[verb](settings, project, region)


if __name__ == "__main__":
    sys.exit(main())

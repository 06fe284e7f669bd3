"""The text of a converted file: YAML with the comments that its reader needs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from trainer.cloud.wording import printable

COMMANDS = {"config.yaml": "custom-jobs", "hptuning_config.yaml": "hp-tuning-jobs"}
COMMENTS = {
    "workerPoolSpecs": "Told apart by their place: 0 chief, 1 workers, 2 parameter servers, 3 evaluators.",
    "scheduling": "timeout ends the job; strategy SPOT is cheaper, and machines may be taken away.",
    "baseOutputDirectory": "Where results go; --job-dir among the args says the same to the program.",
    "studySpec": "What is tuned, by which metric, how; without algorithm the search is Bayesian.",
    "maxTrialCount": "How many trials there are; with parallelTrialCount at a time.",
    "trialJobSpec": "What each trial runs; the parameters are added to its args.",
}
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*")  # read as text by every YAML, if none of its words for other things
WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list, as the documentation of Vertex AI does, and quotes what some YAML could misread."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, value: str) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if PLAIN.fullmatch(value) else '"')


_Dumper.add_representer(str, _Dumper.text)


def render(
    source: str, name: str, content: Mapping[str, Any], assumptions: Sequence[str], without_twin: Sequence[str]
) -> str:
    """The text of one new file; `source` is the old one's name, `name` the new one's."""
    lines = [
        *_comment(f"Converted from {source}. To run it, after a look at what is assumed:"),
        f"#   python -m trainer.submit --spec={name} --project=PROJECT --region=REGION --dry-run",
        f"#   gcloud ai {COMMANDS[name]} create --region=REGION --display-name=NAME --config={name}",
    ]
    for heading, sentences in (("Assumed:", assumptions), ("Without a twin in the new files:", without_twin)):
        if sentences:
            lines += ["#", f"# {heading}", *(line for each in sentences for line in _comment(each, "  - "))]
    for key, value in content.items():
        lines += [*([""] if key in COMMENTS else []), *(_comment(COMMENTS[key]) if key in COMMENTS else [])]
        dumped = yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
        lines.append(dumped.rstrip("\n"))
    return "\n".join(lines) + "\n"


def _comment(sentence: str, bullet: str = "") -> list[str]:
    """A sentence as comment lines: whatever a value held, no line of it can leave the comment."""
    return textwrap.wrap(
        printable(sentence),
        WIDTH,
        initial_indent=f"# {bullet}",
        subsequent_indent=f"# {' ' * len(bullet)}",
        break_long_words=False,
        break_on_hyphens=False,
    )

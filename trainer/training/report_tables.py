"""What a job was made of, as tables: files, columns, settings, versions, exports."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.training.report_data import Export, ReportData
from trainer.training.report_inputs import grouped

HASH_LETTERS = 12


@dataclasses.dataclass(frozen=True)
class Table:
    """Column heads and rows of cells; `numeric` are the columns set flush right. A cell may be Markup."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Bar:
    """A share that is drawn behind its number."""

    share: float

    def __str__(self) -> str:
        return f"{self.share:.3f}"


def data_table(data: ReportData) -> Table:
    """The files, with sizes and hashes."""
    rows = []
    for role in ("train", "eval"):
        for file in data.manifest["data"].get(role, []):
            digest = next((str(value) for name, value in file.items() if name.startswith("sha256")), "")
            rows.append((role, file["path"], f"{file['bytes']:,}", digest[:HASH_LETTERS]))
    return Table(("Used to", "File", "Bytes", "SHA-256"), rows, frozenset({2}))


def column_table(data: ReportData) -> Table:
    """Which columns feed which input or output of the model."""
    rows = [(name, ", ".join(grouped(columns))) for name, columns in data.manifest["data"].get("columns", {}).items()]
    return Table(("Input or output of the model", "Columns"), rows)


def setting_table(entries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Name, value and who set it; what somebody set comes first."""
    said = sorted(entries.items(), key=lambda entry: entry[1]["source"] == "default")
    return Table(("Name", "Value", "Set by"), [(name, _value(each["value"]), each["source"]) for name, each in said])


def version_table(data: ReportData) -> Table:
    """What the job ran on, and the commit of the model's code."""
    rows = list(data.manifest.get("versions", {}).items())
    code = data.manifest.get("code", {})
    rows.append(("model file", code.get("file", "")))
    if git := code.get("git"):
        rows.append(("git commit", f"{git['commit']}{' (changed since)' if git['changed'] else ''}"))
    return Table(("What", "Version"), rows)


def export_table(data: ReportData) -> Table:
    """The newest export of each kind, and whether it predicts what the model does."""
    return Table(("Kind", "Verification", "Folder"), [(each.kind, _verified(each), each.path) for each in data.exports])


def _verified(export: Export) -> str:
    record = export.verification
    if record is None:
        return "not verified yet"
    if record["passed"] is None:
        return f"not verified: {record['why']}"
    rows = f" on {record['rows']} rows" if "rows" in record else ""
    return f"verified: predicts what the model does{rows}" if record["passed"] else "FAILED: predicts something else"


def _value(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (bool, Mapping)) else str(value)

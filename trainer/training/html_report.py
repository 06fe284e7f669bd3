"""report.html: what happened in a job, on one page that needs nothing else."""

from __future__ import annotations

import functools
import importlib.resources
import logging

import jinja2
import tensorflow as tf

from trainer.job.errors import StorageFailed, TrainerError
from trainer.job.paths import JobPaths
from trainer.job.reporting import DEFAULT_ROWS
from trainer.training import report_figures, report_outputs, report_tables, report_view
from trainer.training.failures import in_words
from trainer.training.records import put_text
from trainer.training.report_data import ReportData, collect, paths_of

LOG = logging.getLogger("trainer")
TEMPLATE = "report.html.j2"


def write_report(job_dir: str, output: str | None = None, rows: int = DEFAULT_ROWS) -> str:
    """Write the report of a job; its path.

    Args:
      job_dir: what a job has written, finished or not.
      output: the file to write; JOB_DIR/report.html unless given.
      rows: how many rows of the evaluation files are predicted, from the first on.

    Raises:
      JobDirError: no job has made that directory, or a file in it is damaged.
      StorageFailed: the page cannot be written.
    """
    paths = paths_of(job_dir)
    path = output or paths.report
    page = render(collect(paths, rows, proves=True))
    try:
        put_text(path, page)
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written ({in_words(error)}): name another file with --output."
        ) from error
    return path


def write_report_at_end(paths: JobPaths, wanted: bool, anew: bool = True) -> str | None:
    """The same for a job that has ended, if it is wanted; what keeps it from being written is said, and spoils nothing.

    With `anew` off, one that is there stays: that of a job found finished, which a kill may have kept from writing it.
    """
    if not wanted or (not anew and tf.io.gfile.exists(paths.report)):
        return None
    try:
        put_text(paths.report, render(collect(paths)))
    except (TrainerError, OSError, tf.errors.OpError) as error:
        why = str(error) if isinstance(error, TrainerError) else in_words(error)
        LOG.warning("%s was not written (%s); all else of the job was", paths.report, why.rstrip("."))
        return None
    return paths.report


def render(data: ReportData) -> str:
    """The page, from what was collected."""
    return _template().render(
        data=data,
        head=report_view.headline(data),
        summary=report_view.summary(data),
        curves=list(report_figures.curves(data)),
        outputs=list(report_outputs.output_views(data)),
        data_words=report_view.data_words(data),
        files=report_tables.data_table(data),
        columns=report_tables.column_table(data),
        hyperparameters=report_tables.setting_table(data.manifest["hyperparameters"]),
        settings=report_tables.setting_table(data.manifest["settings"]),
        versions=report_tables.version_table(data),
        exports=report_tables.export_table(data),
        commands=report_view.commands(data),
        lost=data.manifest.get("lost_in_conversion", []),
    )


@functools.cache
def _template() -> jinja2.Template:
    """Escapes every value that does not come from this package's own charts: data may hold HTML."""
    source = importlib.resources.files("trainer.training").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["bar"] = lambda value: isinstance(value, report_tables.Bar)
    return environment.from_string(source)

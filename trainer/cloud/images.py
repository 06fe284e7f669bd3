"""Google's prebuilt training images for TensorFlow, and until when each could be used."""

from __future__ import annotations

import datetime
import re

from trainer.job.findings import Finding

# Version and device -> end of availability, as the list of supported frameworks of Vertex AI's documentation has had
# it (docs.cloud.google.com, "Supported frameworks list"). Google has moved such dates before: so a warning, no error.
END_OF_AVAILABILITY: dict[tuple[str, str], datetime.date] = {
    ("2-12", "cpu"): datetime.date(2025, 6, 30),
    ("2-12", "gpu"): datetime.date(2025, 6, 30),
    ("2-13", "cpu"): datetime.date(2025, 7, 5),
    ("2-13", "gpu"): datetime.date(2025, 7, 5),
    ("2-14", "cpu"): datetime.date(2025, 9, 26),
    ("2-14", "gpu"): datetime.date(2025, 9, 26),
    ("2-15", "cpu"): datetime.date(2025, 11, 14),
    ("2-15", "gpu"): datetime.date(2025, 11, 14),
    ("2-15", "tpu"): datetime.date(2025, 10, 23),
}
PREBUILT = re.compile(
    r"(us|europe|asia)-docker\.pkg\.dev/vertex-ai/training/"
    r"tf-(?P<device>cpu|gpu|tpu)\.(?P<version>[0-9]+-[0-9]+)(\.py[0-9]+)?([:@].+)?"
)
REFERENCE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@.+)?")
PLACEHOLDERS = {"REGION", "PROJECT", "REPOSITORY", "PROJECT_ID", "BUCKET", "IMAGE"}


def availability(uri: str, today: datetime.date, where: str = "imageUri") -> Finding | None:
    """A warning for a prebuilt image that is past its availability; None for all that is not known to be."""
    found = PREBUILT.fullmatch(uri)
    end = END_OF_AVAILABILITY.get((found["version"], found["device"])) if found else None
    if end is None or today <= end:
        return None
    return Finding(
        "warning",
        where,
        f"Google has stopped offering {uri} on {end}, so the job may find no image",
        "build an image of your own with the Dockerfile and name it there",
    )


def spelling(uri: str, where: str) -> Finding | None:
    """An error for a placeholder that nobody has filled in, or what can be no image."""
    left = [word for word in re.split(r"[^A-Z_]+", uri.partition(":")[0]) if word in PLACEHOLDERS]
    if left:
        return Finding(
            "error",
            where,
            f"{uri} still has the placeholder{'s' * (len(left) > 1)} {', '.join(left)}",
            "name the image that you have built and pushed",
        )
    if not REFERENCE.fullmatch(uri):
        return Finding(
            "error",
            where,
            f"{uri!r} is no name of an image, which has small letters and no spaces",
            "write it as in us-central1-docker.pkg.dev/my-project/my-repository/keras-trainer:1",
        )
    return None

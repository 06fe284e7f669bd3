"""What is said of an image's name: past its availability, a placeholder, or no name at all."""

from __future__ import annotations

from datetime import date

import pytest

from trainer.cloud.images import availability, spelling

CPU = "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest"
GPU = "europe-docker.pkg.dev/vertex-ai/training/tf-gpu.2-15.py310:latest"
TPU = "asia-docker.pkg.dev/vertex-ai/training/tf-tpu.2-15.py310@sha256:00"


@pytest.mark.parametrize(
    ("uri", "last_day"),
    [
        pytest.param(CPU, date(2025, 11, 14), id="cpu"),
        pytest.param(GPU, date(2025, 11, 14), id="gpu"),
        pytest.param(TPU, date(2025, 10, 23), id="tpu"),
        pytest.param(CPU.removesuffix(":latest"), date(2025, 11, 14), id="no tag"),
        pytest.param("us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-12:latest", date(2025, 6, 30), id="older"),
    ],
)
def test_an_image_is_past_its_availability_the_day_after(uri: str, last_day: date) -> None:
    assert availability(uri, last_day) is None
    found = availability(uri, date.fromordinal(last_day.toordinal() + 1), "workerPoolSpecs[0].containerSpec.imageUri")
    assert found is not None
    assert str(found) == (
        f"warning: workerPoolSpecs[0].containerSpec.imageUri: Google has stopped offering {uri} on {last_day}, so the "
        "job may find no image; build an image of your own with the Dockerfile and name it there."
    )


@pytest.mark.parametrize(
    "uri",
    [
        "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-99.py312:latest",
        "us-docker.pkg.dev/vertex-ai/training/pytorch-gpu.2-1.py310:latest",
        "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        "us-docker.pkg.dev/my-project/training/tf-cpu.2-15.py310:latest",
        "docker.io/library/python:3.11-slim",
        "",
    ],
)
def test_nothing_is_said_of_images_that_are_not_known(uri: str) -> None:
    assert availability(uri, date(2030, 1, 1)) is None


@pytest.mark.parametrize(
    "uri",
    [
        CPU,
        GPU,
        TPU,
        "us-central1-docker.pkg.dev/my-project/my_repo/keras-trainer:v1.2-RC",
        "gcr.io/my-project/a/b/c",
        "localhost:5000/keras-trainer:1",
        f"europe-docker.pkg.dev/p/r/i@sha256:{'0f' * 32}",
        "python",
    ],
)
def test_names_of_images(uri: str) -> None:
    assert spelling(uri, "imageUri") is None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest", "placeholders REGION, PROJECT, REPOSITORY"),
        ("us-docker.pkg.dev/PROJECT_ID/r/i", "still has the placeholder PROJECT_ID;"),
        ("us-docker.pkg.dev/my project/r/i", "is no name of an image"),
        ("us-docker.pkg.dev/My/r/i", "is no name of an image"),
        ("https://us-docker.pkg.dev/p/r/i", "is no name of an image"),
        ("us-docker.pkg.dev/p/r/i:", "is no name of an image"),
        ("us-docker.pkg.dev//r/i", "is no name of an image"),
    ],
)
def test_what_is_no_name_of_an_image(uri: str, words: str) -> None:
    found = spelling(uri, "imageUri")
    assert found is not None
    assert found.level == "error"
    assert words in found.said

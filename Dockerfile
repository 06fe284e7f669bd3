# The image that a job on Vertex AI runs in: Python, the one tested set of versions, this package, and no more.
#
#   docker build --tag=IMAGE .                              for CPUs
#   docker build --tag=IMAGE --build-arg=EXTRAS=gpu .       for GPUs: NVIDIA's libraries come as Python packages
#   docker build --tag=IMAGE --build-arg=RUN_AS=0 .         for a tuning job that may not write its metrics, see below
#
# Only what .dockerignore names gets in here: no data, no results, no keys.

FROM python:3.11.13-slim-bookworm AS build
ARG EXTRAS=""
RUN python -m venv /opt/venv
WORKDIR /src
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
# First what the package needs, for an empty one: after a change of the sources this layer is still good.
COPY setup.py constraints.txt ./
COPY trainer/__init__.py trainer/
RUN pip install ".[samples${EXTRAS:+,$EXTRAS}]" && pip uninstall --yes keras-trainer \
    && rm -rf build *.egg-info /opt/venv/lib/python*/site-packages/tensorflow/include
COPY . .
RUN pip install --no-deps .

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/venv /opt/venv
# AI Platform's metric file lay in /var/hypertune, which only root could write (cloudml-hypertune, issue 6). It is made for
# our user here; should a service put its own folder over it, RUN_AS=0 is what is left. Not tried on Google's machines.
RUN useradd --uid=1000 --create-home --shell=/usr/sbin/nologin trainer && install --directory --owner=trainer /var/hypertune
# Google's machines have NVIDIA's driver in /usr/local/nvidia; where there is none, these say nothing.
ENV PATH=/opt/venv/bin:$PATH HOME=/home/trainer PYTHONUNBUFFERED=1 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /home/trainer
ARG RUN_AS=1000
USER $RUN_AS
ENTRYPOINT ["python", "-m", "trainer.task"]

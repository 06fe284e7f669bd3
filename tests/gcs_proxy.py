"""A front for fake-gcs-server on loopback: faults by rule, a log of requests, and the rules of Cloud Storage it lacks.

One port is four things:
  * a plain HTTP server, for google-cloud-storage with STORAGE_EMULATOR_HOST;
  * a CONNECT proxy that ends TLS with a made-up authority, for clients with Google's addresses built in (TensorFlow);
  * a metadata server that hands out tokens, for GCE_METADATA_HOST;
  * what fake-gcs-server 1.54 has not, or gets wrong: testPermissions, and uploads resumed by Cloud Storage's rules.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.client
import json
import pathlib
import random
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

HOSTS = ("www.googleapis.com", "storage.googleapis.com", "oauth2.googleapis.com", "accounts.google.com")
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "expect"),
    "content-length",
}
RANGE = re.compile(r"bytes (?:(?P<query>\*)|(?P<first>\d+)-\d+)/(?P<total>\*|\d+)")
LONGEST_SECS = 60.0
Headers = list[tuple[str, str]]


@dataclasses.dataclass
class Fault:
    """What happens to requests whose "METHOD /path" matches.

    Attributes:
      action: a status to answer with; "reset" the connection; "drop" the answer to what was done; "truncate" the
        answer; "delay" it.
      times: how often; -1 for always.
      skip: so many matching requests go well before.
      share: of the matching requests, drawn by a seed.
      secs: of a delay.
      message: of a status, as the server would say it.
    """

    match: str
    action: int | str
    times: int = -1
    skip: int = 0
    share: float = 1.0
    secs: float = 1.0
    message: str = "injected"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it was answered; no code where the connection was reset instead."""

    method: str
    path: str
    code: int | None = None
    fault: int | str | None = None
    sent: int = 0


@dataclasses.dataclass
class Session:
    """A resumable upload: the bytes that are safe, and the answer once it is whole."""

    received: int = 0
    answer: Answer | None = None


@dataclasses.dataclass
class Answer:
    """A status, headers and a body."""

    code: int
    headers: Headers = dataclasses.field(default_factory=list)
    body: bytes = b""
    length: str | None = None  # of the body that HEAD did not send

    @classmethod
    def of_json(cls, code: int, content: object) -> Answer:
        return cls(code, [("Content-Type", "application/json")], json.dumps(content).encode())

    @classmethod
    def of_error(cls, code: int, message: str) -> Answer:
        error = {"code": code, "message": message, "errors": [{"message": message, "reason": "injected"}]}
        return cls.of_json(code, {"error": error})


class State:
    """What a test sets and reads; used by many threads."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.lock = threading.Lock()
        self.sessions: collections.defaultdict[str, Session] = collections.defaultdict(Session)
        self.reset()

    def reset(self) -> None:
        """No faults, no log, everything allowed."""
        with self.lock:
            self.faults: list[Fault] = []
            self.log: list[Request] = []
            self.token: str | None = None  # the one that is accepted; None for any, or none
            self.latency_secs = 0.0  # of each request
            self.denied: set[str] = set()  # permissions that testPermissions withholds
            self.chance = random.Random(0)

    def fault_for(self, request: str) -> Fault | None:
        """The first rule that hits a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times == 0 or not re.search(fault.match, request):
                    continue
                if fault.skip:
                    fault.skip -= 1
                elif self.chance.random() <= fault.share:
                    fault.times -= fault.times > 0
                    return fault
        return None


class Front(socketserver.ThreadingTCPServer):
    """The server; `close` ends its connections and threads too."""

    allow_reuse_address = True
    daemon_threads = False  # so that `close` waits for them
    request_queue_size = 128

    def __init__(self, state: State, ca_file: pathlib.Path | None = None) -> None:
        """With `ca_file` it speaks TLS for Google's hosts, with an authority whose certificate it writes there."""
        self.state = state
        self.tls = _tls_context(ca_file) if ca_file else None
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @contextlib.contextmanager
    def watched(self, connection: socket.socket) -> Any:
        """Within this context `close` ends the connection."""
        self._connections.add(connection)
        try:
            yield
        finally:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle of an answer are what these tests are about."""

    def close(self) -> None:
        """End all, and wait for it."""
        self.shutdown()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


def _tls_context(ca_file: pathlib.Path) -> ssl.SSLContext:
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    authority.cert_pem.write_to_path(str(ca_file))
    return context


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = LONGEST_SECS
    disable_nagle_algorithm = True  # else 40 ms, a delayed ACK, on every small answer
    wbufsize = 64 * 1024
    google_host: str | None = None  # whom the client believes to talk to, behind CONNECT

    @property
    def front(self) -> Front:
        return cast(Front, self.server)

    @property
    def state(self) -> State:
        return self.front.state

    def handle(self) -> None:
        with self.front.watched(self.connection):
            super().handle()

    def log_message(self, format: str, *values: object) -> None:
        """Nothing on stderr: `State.log` has the requests."""

    def handle_expect_100(self) -> bool:
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()  # libcurl waits a second on every PUT that is not told at once
        return True

    def do_CONNECT(self) -> None:
        """Answer, wrap, and serve what comes through by a handler of its own."""
        self.close_connection = True
        fault = self.state.fault_for(f"CONNECT {self.path}")
        if self.front.tls is None or (fault and fault.action == "reset"):
            return self._reset()
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        inner = type("Inner", (Handler,), {"google_host": self.path.rpartition(":")[0]})
        with contextlib.suppress(OSError), self.front.tls.wrap_socket(self.connection, server_side=True) as secure:
            inner(secure, self.client_address, self.server)
        return None

    def _serve(self) -> None:
        body, path = self._body(), self._local_path()
        fault = self.state.fault_for(f"{self.command} {path}")
        action = fault.action if fault else None
        time.sleep(self.state.latency_secs)
        if fault and action == "delay":
            time.sleep(fault.secs)
        if action == "reset":
            return self._logged(path, body, None, action) or self._reset()
        if fault and isinstance(action, int):
            answer = Answer.of_error(action, fault.message)
        else:
            answer = self._answer(path, body)
        self._logged(path, body, answer.code, action)
        if action == "drop":  # what was asked for is done, and the client never learns it
            return self._reset()
        self._send(answer, len(answer.body) // 2 if action == "truncate" else None)
        return self._reset() if action == "truncate" else None

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve

    def _logged(self, path: str, body: bytes, code: int | None, fault: int | str | None) -> None:
        with self.state.lock:
            self.state.log.append(Request(self.command, path, code, fault, len(body)))

    def _local_path(self) -> str:
        """The path, of a request to a plain proxy too."""
        return "/" + self.path.split("/", 3)[3] if self.path.startswith("http://") else self.path

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(content)

    def _answer(self, path: str, body: bytes) -> Answer:
        if "computeMetadata" in path or path == "/":
            return metadata(path, self.state.token or "made-up")
        if self.state.token and self.headers.get("Authorization") != f"Bearer {self.state.token}":
            return Answer.of_error(401, "Invalid Credentials")
        if "/iam/testPermissions" in path:
            wanted = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("permissions", [])
            granted = [each for each in wanted if each not in self.state.denied]
            return Answer.of_json(200, {"kind": "storage#testIamPermissionsResponse", "permissions": granted})
        upload = re.search(r"upload_id=([^&]+)", path)
        if self.command == "PUT" and upload:
            return self._resumed(self.state.sessions[upload[1]], path, body)
        return self._forwarded(path, body, self.headers.get("Content-Range"))

    def _resumed(self, session: Session, path: str, body: bytes) -> Answer:
        """Go on with an upload: a question for its state is answered, bytes that are safe already are left out.

        The fake would make an EMPTY object of the question, and append the bytes once more.
        """
        if session.answer:
            return session.answer
        so_far: Headers = [("Range", f"bytes=0-{session.received - 1}")] if session.received else []
        content_range = self.headers.get("Content-Range")
        part = RANGE.fullmatch(content_range or "")
        if part and part["query"] and not body and part["total"] not in ("0", str(session.received)):
            return Answer(308, so_far)
        if part and part["first"]:
            known = session.received - int(part["first"])
            if known < 0:
                return Answer.of_error(503, "a gap in a resumable upload")
            if known >= len(body):
                return Answer(308, so_far)
            body = body[known:]
            first = int(part["first"]) + known
            content_range = f"bytes {first}-{first + len(body) - 1}/{part['total']}"
        answer = self._forwarded(path, body, content_range)
        if answer.code in (200, 201, 308):
            session.received += len(body)
        if answer.code in (200, 201):
            session.answer = answer
        return answer

    def _forwarded(self, path: str, body: bytes, content_range: str | None) -> Answer:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        headers = {name: value for name, value in headers.items() if name.lower() not in ("content-range", "host")}
        headers["Host"] = self.google_host or "www.googleapis.com"
        if content_range:
            headers["Content-Range"] = content_range
        connection = http.client.HTTPConnection(*self.state.upstream, timeout=LONGEST_SECS)
        with contextlib.closing(connection):
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
        passed = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        here = f"https://{self.google_host}" if self.google_host else f"http://{self.headers['Host']}"
        back = [(name, re.sub(r"^https?://[^/]+", here, value)) for name, value in passed]
        if "json" in (response.getheader("Content-Type") or "") and b'"mediaLink":' in content:
            content = re.sub(rb'(?<="mediaLink":")https?://[^/"]+', here.encode(), content)
        return Answer(response.status, back, content, response.getheader("Content-Length"))

    def _send(self, answer: Answer, only: int | None = None) -> None:
        self.send_response_only(answer.code)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.code not in (204, 304):
            length = answer.length if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:only])
        self.wfile.flush()

    def _reset(self) -> None:
        """Break the connection, as a machine does that is switched off: RST, not FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def metadata(path: str, token: str) -> Answer:
    """What the metadata server of a machine at Google's says."""
    account = {"aliases": ["default"], "email": "default", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    said: dict[str, object] = {
        "/token": {"access_token": token, "expires_in": 3599, "token_type": "Bearer"},
        "/project-id": "a-project",
        "/universe-domain": "googleapis.com",
        "/zone": "projects/1/zones/europe-west4-a",
        "/service-accounts": account,
    }
    content = next((each for name, each in said.items() if name in path), "ok")
    answer = Answer.of_json(200, content)
    if isinstance(content, str):
        answer = Answer(200, [("Content-Type", "application/text")], content.encode())
    answer.headers.append(("Metadata-Flavor", "Google"))
    return answer

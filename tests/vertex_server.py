"""The HTTP of the loopback Vertex: Google's JSON errors, faults on demand, a log of requests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any, Protocol

from tests.vertex_schema import Invalid

STATUSES = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Fault:
    """What happens to requests whose `METHOD path` matches: a status, or reset, lost, slow.

    `reset` closes the connection before anything was done, `lost` after it; `slow` answers after `secs`.
    """

    match: str
    how: int | str
    times: int = 1
    skip: int = 0
    message: str = "injected"
    secs: float = 0.0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A request as it came; `fault` is what was done to it."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    authorization: str | None
    fault: int | str | None


class Service(Protocol):
    """What answers."""

    lock: threading.RLock
    requests: list[Seen]

    def take_fault(self, request: str) -> Fault | None: ...

    def answer(self, seen: Seen) -> dict[str, Any]: ...


class Server(http.server.ThreadingHTTPServer):
    """Knows its connections, to end those that a client keeps open."""

    daemon_threads = False  # so that closing waits for them

    def __init__(self, service: Service) -> None:
        self.service = service
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        self.close_request(request)  # and no FIN before, or a reset would be none

    def server_close(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        super().server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def log_message(self, *words: Any) -> None:
        """Nothing on stderr: `Vertex.requests` is the log."""

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        path = urllib.parse.unquote(parts.path)
        fault = self.server.service.take_fault(f"{self.command} {path}")
        query = dict(urllib.parse.parse_qsl(parts.query))
        how = fault.how if fault else None
        seen = Seen(self.command, path, query, body, self.headers.get("Authorization"), how)
        with self.server.service.lock:
            self.server.service.requests.append(seen)
        if fault and how == "slow":
            time.sleep(fault.secs)
        if how == "reset":
            return self._reset()
        if fault and isinstance(how, int):
            return self._refuse(Refusal(how, fault.message), fault.headers)
        try:
            answer = self.server.service.answer(seen)
        except Refusal as refusal:
            return self._refuse(refusal)
        except Invalid as error:
            return self._refuse(Refusal(400, str(error)))
        return self._reset() if how == "lost" else self._send(200, json.dumps(answer))

    do_POST = do_DELETE = do_GET

    def _refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        if not str(refusal):  # an address that Google's front end does not know
            return self._send(
                refusal.status, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", kind="text/html"
            )
        status = STATUSES.get(refusal.status, "UNAVAILABLE" if refusal.status == 503 else "INTERNAL")
        error = {"code": refusal.status, "message": str(refusal), "status": status}
        return self._send(refusal.status, json.dumps({"error": error}), headers)

    def _send(
        self, status: int, text: str, headers: Mapping[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # a client that was tired of waiting is gone
            self.wfile.write(data)
            self.wfile.flush()

    def _reset(self) -> None:
        """Close with RST, not FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

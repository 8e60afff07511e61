"""For tests: a proxy in front of an S3 server that does to its answers what networks do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

_BLOCK_BYTES = 64 << 10


@dataclass
class Fault:
    """What happens to requests whose method and decoded path match."""

    kind: Literal["status", "cut", "flip", "slow", "drop"]
    """Answer with an error; close after some bytes of the body; change a byte of it; wait after
    each block of it; close without an answer."""
    part: str = ""
    """Of the path."""
    method: str = "GET"
    value: float = 0
    """The status, the number of bytes, the byte to change, or seconds."""
    times: int = 1 << 30
    """How often."""


@dataclass
class FaultProxy:
    """A proxy that is running; see `fault_proxy`."""

    endpoint_url: str
    faults: list[Fault] = field(default_factory=list)
    """Applied in this order; the first that matches counts. It may be changed at any time."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, decoded path and range of every request."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str) -> Fault | None:
        """Take a fault for a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.proxy = FaultProxy(f"http://127.0.0.1:{self.server_address[1]}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        path, proxy = unquote(self.path), self.server.proxy
        with proxy.lock:
            proxy.requests.append((self.command, path, self.headers.get("Range", "")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = proxy.fault_of(self.command, path)
        if fault is not None and fault.kind == "drop":
            self.close_connection = True
            return
        if fault is not None and fault.kind == "status":
            self.send_response(int(fault.value))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            self.answer(connection.getresponse(), fault)
        finally:
            connection.close()

    def answer(self, response: http.client.HTTPResponse, fault: Fault | None) -> None:
        data = b"" if self.command == "HEAD" else response.read()
        length = response.getheader("Content-Length") or str(len(data))
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if fault is not None and fault.kind == "cut":
            data = data[: int(fault.value)]
            self.close_connection = True
        if fault is not None and fault.kind == "flip" and len(data) > fault.value:
            place = int(fault.value)
            data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        for begin in range(0, len(data), _BLOCK_BYTES):
            self.wfile.write(data[begin : begin + _BLOCK_BYTES])
            if fault is not None and fault.kind == "slow":
                time.sleep(fault.value)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client went away
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server.

    Parameters
    ----------
    upstream : str
        ``http://host:port``.
    """
    server = _Server(upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

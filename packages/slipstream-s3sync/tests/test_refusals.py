"""A server that refuses every request, as services do that do not know the access key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipstream_s3sync import (
    RemoteFile,
    S3AccessError,
    S3Folder,
    download,
    sync_s3_dataset,
    upload,
)

pytestmark = pytest.mark.timeout(60)
BODY = b"""<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidAccessKeyId</Code><Message>The
AWS Access Key Id you provided does not exist in our records.</Message></Error>"""


class Refusing(BaseHTTPRequestHandler):
    """403 to all."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"" if self.command == "HEAD" else BODY
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
    setattr(Refusing, f"do_{method}", Refusing.answer)


@pytest.fixture
def options() -> Iterator[dict[str, str]]:
    """How the server is reached."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield {
        "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "aws_access_key_id": "AKIAUNKNOWN",
        "aws_secret_access_key": "hush-hush",
        "region_name": "us-east-1",
    }
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("engine")
def test_a_refused_key_is_told(options: dict[str, str], tmp_path: Path) -> None:
    """One clear line for each way to move data; nothing is left, no secret is repeated."""
    folder = S3Folder("s3://bucket/data", options)
    (tmp_path / "up").write_bytes(b"12345")
    up = RemoteFile("up", tmp_path / "up", 5)
    down = RemoteFile("down", tmp_path / "down", 5, etag="0" * 32)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("InvalidAccessKeyId", lambda: list(folder.list())),
        ("InvalidAccessKeyId", lambda: download(folder, [down])),
        ("403", lambda: upload(folder, [up])),
        (
            "InvalidAccessKeyId",
            lambda: sync_s3_dataset(
                "s3://bucket/data", tmp_path / "c", storage_options=options, verbose=False
            ),
        ),
    ]
    for code, action in cases:
        with pytest.raises(S3AccessError, match=code) as caught:
            action()
        message = str(caught.value)
        assert message.startswith("s3://bucket/data")
        assert "credentials" in message
        assert "\n" not in message
        assert "hush" not in message + str(caught.value.__cause__)
    folder.close()
    assert not (tmp_path / "down").exists()

"""S3 servers that are started for the tests: one over HTTP, one over TLS, and another maker's."""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipstream_s3sync import transfer


@dataclass(frozen=True)
class Server:
    """How a server is reached."""

    name: str
    endpoint_url: str
    access_key: str = "test"
    secret_key: str = "testing"
    ca_file: str | None = None


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of a server that the environment names."""

    server: Server
    name: str
    client: Any

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"s3://{self.name}"


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """An authority, and the certificate and key of a server at 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)

    def signed(name: str, key: Any, issuer: str, issuer_key: Any, is_authority: bool) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name.from_rfc4514_string(f"CN={name}"))
            .issuer_name(x509.Name.from_rfc4514_string(f"CN={issuer}"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            names = x509.SubjectAlternativeName([address, x509.DNSName("localhost")])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority = signed("authority", keys[0], "authority", keys[0], True)
    leaf = signed("server", keys[1], "authority", keys[0], False)
    pem = serialization.Encoding.PEM
    paths = directory / "ca.pem", directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(authority.public_bytes(pem))
    paths[1].write_bytes(leaf.public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    paths[2].write_bytes(keys[1].private_bytes(pem, form, serialization.NoEncryption()))
    return paths


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """moto behind TLS."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    authority, certificate, key = certificates(tmp_path_factory.mktemp("tls"))
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, ssl_context=(str(certificate), str(key))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_port}"
    yield Server("tls", url, ca_file=str(authority))
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """OpenStack Swift, in a process of its own."""
    if importlib.util.find_spec("swift") is None:
        pytest.skip("OpenStack Swift is not installed")
    root = tmp_path_factory.mktemp("swift")
    port_file = root / "port"
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("swift_server.py"))]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(root / "data"), str(port_file)],
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 90
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError((root / "log").read_text(errors="replace")[-2000:])
        time.sleep(0.1)
    url = f"http://127.0.0.1:{port_file.read_text()}"
    yield Server("swift", url, access_key="test:tester")
    port_file.unlink()
    process.wait(20)


@pytest.fixture(params=["http", "tls", "swift"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers."""
    if request.param == "http":
        return Server("http", request.getfixturevalue("s3_endpoint"))
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket; the environment holds endpoint and credentials."""
    import boto3
    from botocore.config import Config

    environment = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if server.ca_file is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", server.ca_file)
    client = boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    name = f"bucket-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    yield Bucket(server, name, client)
    client.close()


@pytest.fixture(params=["s5cmd", "boto3"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with s5cmd, and as if it were not installed."""
    if request.param == "boto3":
        monkeypatch.setattr(transfer, "find_s5cmd", lambda: None)
    return str(request.param)

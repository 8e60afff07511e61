"""Fixtures for the tests of all packages."""

from __future__ import annotations

import multiprocessing
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The first call of a kernel compiles it: no test has a deadline, hanging ones meet pytest-timeout.
settings.register_profile("slipstream", deadline=None)
settings.load_profile("slipstream")

_PHOTOS_VARIABLE = "SLIPSTREAM_TEST_PHOTOS"


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """A test leaves the environment and the way to start processes as it found them.

    dask configures its workers by the environment of this process, as one thread each; litdata's
    writer sets the start method.
    """
    environment = dict(os.environ)
    yield
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)


@pytest.fixture(scope="session")
def photo_folder() -> Path:
    """A folder of real photos, one folder a class; the test is skipped where there is none."""
    default = Path(__file__).parent.parent / "shared" / "data" / "photos"
    folder = Path(os.environ.get(_PHOTOS_VARIABLE, default))
    if not folder.is_dir():
        pytest.skip(f"no real photos: set {_PHOTOS_VARIABLE} to a folder of them")
    return folder


@pytest.fixture(scope="session")
def photos(photo_folder: Path) -> list[Path]:
    """The photos of ``photo_folder`` in sorted order."""
    suffixes = {".jpg", ".jpeg"}
    return sorted(p for p in photo_folder.rglob("*") if p.suffix.lower() in suffixes)


@dataclass(frozen=True)
class S3Bucket:
    """An empty bucket of an S3 server on this machine."""

    name: str
    endpoint_url: str
    client: Any
    """boto3's."""

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"s3://{self.name}"

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Upload all files of a folder; returns the URL of the prefix."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())
        return f"{self.url}/{prefix}"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Endpoint URL of an S3 server over HTTP, started for the session."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """An empty bucket; the environment holds its endpoint and credentials."""
    import boto3

    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.Session().client("s3")  # the default session keeps its first credentials
    name = f"bucket-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    yield S3Bucket(name, s3_endpoint, client)
    client.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is no CUDA device."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))

"""Fixtures of s3sync's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from slipstream_s3sync import transfer
from slipstream_s3sync.testing import FaultProxy, fault_proxy


@pytest.fixture
def proxy(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of the server, which the environment names as the endpoint."""
    with fault_proxy(s3_bucket.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint_url)
        yield running


@pytest.fixture(params=["s5cmd", "boto3"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with s5cmd, and as if it were not installed."""
    if request.param == "boto3":
        monkeypatch.setattr(transfer, "find_s5cmd", lambda: None)
    else:
        assert transfer.find_s5cmd() is not None
    return str(request.param)

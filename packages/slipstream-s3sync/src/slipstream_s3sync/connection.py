"""How a bucket is reached: options, credentials, boto3's client, and errors that say what to do.

Credentials come from where every AWS tool finds them (environment, ``~/.aws``, instance roles),
unless options say otherwise. boto3 is imported when the first client is made.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

from slipstream_s3sync.errors import (
    S3AccessError,
    S3ConnectionError,
    S3Error,
    S3NotFoundError,
    S3UrlError,
)

WASABI_ENDPOINT: Final = "https://s3.wasabisys.com"
_WASABI: Final = "wasabi"
OPTION_NAMES: Final = {
    "endpoint_url": ("AWS_ENDPOINT_URL", "S3_ENDPOINT_URL"),
    "region_name": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "aws_session_token": ("AWS_SESSION_TOKEN",),
    "verify": ("AWS_CA_BUNDLE",),
    "profile": ("AWS_PROFILE",),
    "anonymous": ("AWS_NO_SIGN_REQUEST",),
}
"""Options of a connection and their names as environment variables, which are taken as well."""
_CLIENT_OPTIONS: Final = frozenset(OPTION_NAMES) - {"profile", "anonymous"}

ATTEMPTS: Final = 4
"""How often a request is made before it counts as failed."""
_MISSING_CODES: Final = ("404", "NoSuchKey", "NotFound")
_CREDENTIAL_CODES: Final = (
    "401",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
)
_FORBIDDEN_CODES: Final = ("403", "AccessDenied", "AllAccessDisabled")
_CHANGED_CODES: Final = ("412", "PreconditionFailed")
_REGION_CODES: Final = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed")
_NO_CREDENTIALS: Final = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "CredentialRetrievalError",
    "TokenRetrievalError",
)


def checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Bring options under their own names; those that are None are left out.

    Raises
    ------
    S3UrlError
        An option is unknown.
    """
    names = {alias: name for name, aliases in OPTION_NAMES.items() for alias in (name, *aliases)}
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in names:
            raise S3UrlError(
                f"unknown storage option {name!r}; expected {', '.join(OPTION_NAMES)} or the names "
                "of environment variables such as AWS_ENDPOINT_URL"
            )
        if value is not None:
            options[names[name]] = value
    flag = options.get("anonymous", False)
    if isinstance(flag, str):
        options["anonymous"] = flag.strip().lower() in ("1", "yes", "true", "on")
    return options


class Connection:
    """A client of boto3 for one set of options, made again after a fork.

    Parameters
    ----------
    options : mapping, optional
        ``endpoint_url`` (of an S3-compatible service), ``region_name``, ``aws_access_key_id``,
        ``aws_secret_access_key``, ``aws_session_token``, ``verify`` (a file of certificates),
        ``profile`` (of the AWS configuration; ``"wasabi"`` means Wasabi's endpoint, unsigned where
        the configuration has no such profile), ``anonymous`` (requests are not signed); or the
        names of the environment variables for these.

    Raises
    ------
    S3UrlError
        An option is unknown.

    Notes
    -----
    It may be used from several threads. A pickle holds the options, credentials included if they
    were given.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = checked_options(options or {})
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = os.getpid()

    @property
    def client(self) -> Any:
        """boto3's client for S3."""
        if self._process != os.getpid():  # another thread may have held the lock at the fork
            self._begin()
        with self._lock:
            if self._client is None:
                with self.explained("s3"):
                    self._client = new_client(self.options)
            return self._client

    @property
    def endpoint(self) -> str:
        """URL of the service that requests go to."""
        return str(self.client.meta.endpoint_url)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._process != os.getpid():
            return
        with self._lock:
            if self._client is not None:
                self._client.close()

    @contextmanager
    def explained(self, url: str) -> Iterator[None]:
        """Turn boto3's errors about a URL into ours."""
        exceptions = boto3_parts().exceptions
        try:
            yield
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise _of_answer(url, code) from error
        except exceptions.BotoCoreError as error:
            endpoint = self._client.meta.endpoint_url if self._client else "the endpoint"
            raise _of_connection(url, error, endpoint) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options,)


def _of_answer(url: str, code: str) -> S3Error:
    """What the service's refusal means."""
    if code == "NoSuchBucket":
        return S3NotFoundError(
            f"{url}: the bucket does not exist; check the URL and the endpoint, or create it"
        )
    if code in _MISSING_CODES:
        return S3NotFoundError(f"{url}: there is no such object; check the URL and the endpoint")
    if code in _CREDENTIAL_CODES:
        return S3AccessError(
            f"{url}: the credentials were refused ({code}); check AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, the profile, and that they belong to this endpoint"
        )
    if code in _FORBIDDEN_CODES:
        return S3AccessError(
            f"{url}: the credentials do not allow this ({code}); ask the bucket's owner, or use "
            "anonymous access for a public bucket"
        )
    if code in _CHANGED_CODES:
        return S3Error(f"{url} was replaced while it was read: try again")
    if code in _REGION_CODES:
        return S3ConnectionError(
            f"{url}: the bucket belongs to another region or endpoint ({code}); set region_name or "
            "endpoint_url"
        )
    return S3Error(f"{url}: the service answered {code or 'with an error'}")


def _of_connection(url: str, error: Exception, endpoint: str) -> S3Error:
    """What it means that there was no answer."""
    kind = type(error).__name__
    if kind in _NO_CREDENTIALS:
        return S3AccessError(
            f"{url}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "or a profile, or use anonymous access for a public bucket"
        )
    if kind == "SSLError":
        return S3ConnectionError(
            f"{url}: the certificate of the endpoint {endpoint} is not trusted; set verify= or "
            "AWS_CA_BUNDLE to the file of its authority"
        )
    if kind in (
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "InvalidEndpointConfigurationError",
    ):
        return S3ConnectionError(
            f"{url}: the endpoint {endpoint} cannot be reached ({kind}); check endpoint_url and "
            "the network"
        )
    return S3ConnectionError(
        f"{url}: the connection to {endpoint} broke off ({kind}); check the network and try again"
    )


class _Boto3(NamedTuple):
    """What is used of it."""

    session: Any
    config: Any
    exceptions: Any
    unsigned: Any


@lru_cache(maxsize=1)
def boto3_parts() -> _Boto3:
    """Import boto3.

    Raises
    ------
    ImportError
        It is not installed; the message holds the install line.
    """
    try:
        import boto3
        import botocore
        import botocore.config
        import botocore.exceptions
    except ImportError as error:
        raise ImportError("S3 needs boto3: pip install visionlab-slipstream-s3sync") from error
    return _Boto3(boto3.Session, botocore.config.Config, botocore.exceptions, botocore.UNSIGNED)


def new_client(options: Mapping[str, Any]) -> Any:
    """Return boto3's client for checked options."""
    parts = boto3_parts()
    chosen = {name: options[name] for name in _CLIENT_OPTIONS if name in options}
    profile, anonymous = options.get("profile"), bool(options.get("anonymous", False))
    if profile == _WASABI:
        chosen.setdefault("endpoint_url", WASABI_ENDPOINT)
        if profile not in parts.session().available_profiles:
            profile = None
            anonymous = "aws_access_key_id" not in chosen
    settings: dict[str, Any] = {
        "retries": {"mode": "standard", "max_attempts": ATTEMPTS},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 64,
    }
    if anonymous:
        settings["signature_version"] = parts.unsigned
    # Other services than AWS refuse the checksums that new versions add. Files that are synced are
    # checked by their hashes; single reads by the length, and by TLS where the URL has it.
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if name in parts.config.OPTION_DEFAULTS:
            settings[name] = "when_required"
    with _without_collection():
        session = parts.session(profile_name=profile)
        if session.region_name is None:
            chosen.setdefault("region_name", "us-east-1")
        return session.client("s3", config=parts.config(**settings), **chosen)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the garbage collector: boto3 reads large JSON files, and half of its time is that."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

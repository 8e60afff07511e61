"""Iterables and generators: samples that come once, in their own order.

The samples are written to a temporary file as they come, from which a cache is built as from any
other source. How many there are and what fields they have is remembered, so that a cache that
exists is found without iterating again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from slipstream_cache import FieldSpec, SourceReadError, StorageOptions, default_cache_root
from slipstream_cache.encoding import SampleEncoder
from slipstream_cache.manifest import field_from_json, fields_to_json
from slipstream_cache.publish import temporary_path
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.progress import progress_bar
from slipstream_loader.sources.file_listing import listing_root
from slipstream_loader.sources.huggingface import undecoded
from slipstream_loader.sources.sample_form import SampleForm
from slipstream_loader.sources.sequence import described

_logger = logging.getLogger(__name__)

_RECIPE: Final = "named iterable 1"


class IterableSource:
    """The samples of an iterable, a generator, or a function that returns one.

    Parameters
    ----------
    samples : iterable or callable
        A generator or iterator gives its samples once; any other iterable, and a function without
        arguments that returns an iterator, can be asked again. Samples as for ``SequenceSource``.
    name : str
        A name for this content; choose another one when the samples change.
    fields, images
        As for ``SequenceSource``.
    cache_root : path, optional
        Where the temporary file is made, and facts are remembered; default: the caches' root. It
        must have room for all samples.

    Raises
    ------
    SourceError
        When it is no iterable or has no name.

    Notes
    -----
    Nothing is iterated here if a source of this name was read to its end before. Samples cannot be
    sent to other processes: build in this one.
    """

    kind: Final = "iterable"

    def __init__(
        self,
        samples: Iterable[Any] | Callable[[], Iterable[Any]],
        name: str | None = None,
        *,
        fields: Sequence[str] | None = None,
        images: Sequence[str] = (),
        cache_root: Path | None = None,
    ) -> None:
        if not isinstance(samples, Iterable) and not callable(samples):
            raise SourceError(f"{described(samples)} is no iterable of samples")
        if not isinstance(name, str) or not name:
            raise SourceError(
                f"{described(samples)} cannot be told from another one by its samples, so its "
                "cache could not be found again; name its content: name='my-data-v1'"
            )
        self._samples, self._name = undecoded(samples), name
        self._form = SampleForm(fields, images)
        self._root = cache_root or default_cache_root()
        self._memo = listing_root(cache_root) / f"iterable-{self.fingerprint()[:32]}.json"
        self._lock = threading.Lock()
        self._facts = _recall(self._memo)
        self._spool: _Spool | None = None
        self._begun: Iterator[Any] | None = None

    @property
    def uri(self) -> str:
        """The name, as ``memory:...``."""
        return f"memory:{self._name}"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of the first sample."""
        return dict(self._known().fields)

    def __len__(self) -> int:
        return self._known().num_samples

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        spool = self._spooled()
        if not 0 <= index < spool.num_samples:
            raise IndexError(f"sample {index} of the {spool.num_samples} in {self.uri}")
        return spool.read(index)

    def fingerprint(self) -> str:
        """Hash of the name: 64 hexadecimal characters."""
        text = "\0".join([_RECIPE, self._name, *self._form.options])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Return ``name[index]``."""
        return f"{self._name}[{index}]"

    def __repr__(self) -> str:
        return f"IterableSource({self.uri})"

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an IterableSource cannot be sent to other processes")

    def _known(self) -> _Facts:
        if self._facts is None:
            spool = self._spooled()
            self._facts = _Facts(spool.num_samples, spool.fields)
        return self._facts

    def _spooled(self) -> _Spool:
        with self._lock:
            if self._spool is None:
                spool = self._new_spool()
                facts = _Facts(spool.num_samples, spool.fields)
                if self._facts is not None and self._facts != facts:
                    raise SourceReadError(
                        f"{self.uri} gave {facts.num_samples} samples with fields "
                        f"{list(facts.fields)}, but {self._facts.num_samples} with "
                        f"{list(self._facts.fields)} before: give it another name"
                    )
                _remember(self._memo, facts)
                self._spool = spool
            return self._spool

    def _new_spool(self) -> _Spool:
        """Take all samples."""
        given = self._samples() if callable(self._samples) else self._samples
        samples = iter(given)
        is_once = samples is given
        if is_once and samples is self._begun:
            raise SourceReadError(
                f"{self.uri} was begun before, and gives its samples once: make a new one, or give "
                "a function that makes it"
            )
        self._begun = samples
        spool: _Spool | None = None
        self._root.mkdir(parents=True, exist_ok=True)
        with progress_bar(None, f"reading {self._name}", verbose=True) as bar:
            for index, sample in enumerate(samples):
                where = self.describe(index)
                if spool is None:
                    spool = _Spool(self, self._form.field_types(sample, where), self._root)
                spool.add(self._form.apply(sample, where))
                bar.update()
        if spool is None:
            if is_once and self._facts is not None:
                raise SourceReadError(
                    f"{self.uri} is used up: a generator gives its samples once; make a new one, "
                    "or give a function that makes it"
                )
            raise EmptyDatasetError(f"{self.uri} has no samples")
        spool.finish()
        return spool


@dataclass(frozen=True)
class _Facts:
    num_samples: int
    fields: Mapping[str, FieldSpec]


def _recall(memo: Path) -> _Facts | None:
    try:
        found = json.loads(memo.read_bytes())
        fields = {name: field_from_json(spec) for name, spec in found["fields"].items()}
        return _Facts(int(found["num_samples"]), fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(memo: Path, facts: _Facts) -> None:
    text = json.dumps({"num_samples": facts.num_samples, "fields": fields_to_json(facts.fields)})
    temporary = temporary_path(memo)
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(memo)
    except OSError as error:
        _logger.debug("%s is not remembered: %s", memo, error)
        with suppress(OSError):
            temporary.unlink()


class _Spool:
    """Samples in a file without a name, which the system removes with the last reference."""

    def __init__(
        self, source: IterableSource, fields: Mapping[str, FieldSpec], directory: Path
    ) -> None:
        self.fields = fields
        self._images = [name for name, spec in fields.items() if spec.kind == "image"]
        others = {name: spec for name, spec in fields.items() if spec.kind != "image"}
        self._others = list(others)
        self._encoder = SampleEncoder(_Declared(source, fields), others, StorageOptions(), None)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._ends = array("q", [0])

    @property
    def num_samples(self) -> int:
        return (len(self._ends) - 1) // len(self.fields)

    def add(self, sample: Mapping[str, Any]) -> None:
        """Write one more sample."""
        encoded = self._encoder.encode(self.num_samples, sample)
        stored = dict(zip(self._others, encoded, strict=True))
        for name in self.fields:
            value = sample[name] if name in self._images else stored[name]
            assert isinstance(value, bytes)
            self._file.write(value)
            self._ends.append(self._ends[-1] + len(value))

    def finish(self) -> None:
        """Have everything in the file."""
        self._file.flush()

    def __del__(self) -> None:
        self._file.close()

    def read(self, index: int) -> dict[str, Any]:
        """Read a sample, from any thread, after ``finish``."""
        first = index * len(self.fields)
        return {
            name: _decoded(spec, self._payload(first + number))
            for number, (name, spec) in enumerate(self.fields.items())
        }

    def _payload(self, number: int) -> bytes:
        begin, end = self._ends[number], self._ends[number + 1]
        data = os.pread(self._file.fileno(), end - begin, begin)
        if len(data) != end - begin:
            raise SourceReadError("the temporary file of an iterable's samples is cut off")
        return data


@dataclass(frozen=True)
class _Declared:
    """An iterable source while its samples come: what an encoder needs of it."""

    source: IterableSource
    field_types: Mapping[str, FieldSpec]
    kind = IterableSource.kind

    @property
    def uri(self) -> str:
        return self.source.uri

    def describe(self, index: int, /) -> str:
        return self.source.describe(index)

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        raise IndexError(index)


def _decoded(spec: FieldSpec, data: bytes) -> Any:
    if spec.kind == "dense":
        return np.frombuffer(data, spec.dtype).reshape(spec.shape)[()]
    if spec.content == "str":
        return data.decode("utf-8", "surrogatepass")
    return json.loads(data) if spec.content == "json" else data


def is_iterable(source: Any) -> bool:
    """Tell whether an object is taken as an iterable: it gives samples, but not by their number."""
    if isinstance(source, (str, bytes, Mapping)):
        return False
    torch_data = sys.modules.get("torch.utils.data")  # not imported: no data set is of its classes
    if isinstance(source, Iterator) or (
        torch_data is not None and isinstance(source, torch_data.IterableDataset)
    ):
        return True
    is_indexed = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    return not is_indexed and (callable(source) or hasattr(source, "__iter__"))

"""Lists of image files with their labels: CSV, JSON lines or parquet."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldNameError, FieldSpec, FieldTypeError, infer_field_types
from slipstream_cache.field_types import validate_fields
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources.file_names import PackedNames, report, too_large
from slipstream_loader.sources.manifest_rows import MANIFEST_EXTENSIONS, read_columns
from slipstream_loader.sources.object_store import is_object_url, open_object_store
from slipstream_loader.sources.stored_file import is_url, open_stored_file

__all__ = ["MANIFEST_EXTENSIONS", "ManifestSource"]

_RECIPE: Final = "manifest 1"
_PATH_COLUMNS: Final = (
    "file_name",
    "path",
    "filename",
    "filepath",
    "file",
    "image_path",
    "image",
)
_LABEL_COLUMNS: Final = ("label", "class", "target")
_STAT_THREADS: Final = 16
_VALUES_AT_ONCE: Final = 2048


class ManifestSource:
    """Images that a list names, with what the list says of each.

    A sample is ``{image, label, path, ...}``: the bytes of the file; the label, of which texts
    become positions in `classes`; the path, relative to the root (or the list's own column of that
    name); and the other columns under their names.

    Parameters
    ----------
    location : str or path
        A file ``.csv`` or ``.tsv`` with a header, ``.jsonl`` or ``.parquet``; or its URL.
    path_column, label_column : str, optional
        Default: the first of ``file_name``, ``path``, ``filename``, ``filepath``, ``file``,
        ``image_path``, ``image`` that is there; of ``label``, ``class``, ``target``, if any is.
    root : str or path, optional
        The folder that paths are relative to, or its URL ``s3://``; default: that of the list.
        Paths that lead out of it are refused: for absolute ones, give ``root="/"``.
    storage_options : mapping, optional
        Of ``s3://`` URLs; see ``open_object_store``.

    Raises
    ------
    SourceError
        The list cannot be read; has no such column; names files that are missing or elsewhere, all
        reported together. `EmptyDatasetError` when it names none.
    """

    kind: Final = "manifest"

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        path_column: str | None = None,
        label_column: str | None = None,
        root: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        file = open_stored_file(location, storage_options)
        self._uri = file.uri
        columns = read_columns(file)
        paths_of = self._column(columns, path_column, _PATH_COLUMNS)
        labels_of = self._column(columns, label_column, _LABEL_COLUMNS, needed=False)
        assert paths_of is not None
        if not columns[paths_of]:
            raise EmptyDatasetError(f"{self.uri} names no files")
        base = os.fspath(root) if root is not None else _folder_of(self._uri)
        self._files: _LocalFiles | _StoreFiles = (
            _StoreFiles(base, storage_options) if is_object_url(base) else _LocalFiles(base)
        )
        self._paths = self._safe_paths(columns.pop(paths_of), base)
        self.classes: list[str] = []
        """Names of the classes, sorted; empty where labels are numbers, or there are none."""
        table: dict[str, Sequence[Any]] = {}
        if labels_of is not None:
            table["label"] = self._labels(columns.pop(labels_of))
        table["path"] = columns.pop("path", self._paths)
        self._table = {**table, **{n: c for n, c in columns.items() if n not in ("image", *table)}}
        dropped = columns.keys() - self._table.keys()
        if dropped:
            raise SourceError(f"{self.uri}: a column cannot be named {sorted(dropped)[0]!r} here")
        self._sizes = self._files.sizes(self._paths, self.uri)
        self._field_types = self._types()

    @property
    def uri(self) -> str:
        """Where the list is."""
        return self._uri

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._field_types)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        data = self._files.read(self._paths[index])
        if len(data) != self.sample_bytes(index):
            raise SampleReadError(f"{self._paths[index]} was changed: open the list again")
        row = {name: column[index] for name, column in self._table.items()}
        return {"image": data, **row}

    def sample_bytes(self, index: int, /) -> int:
        """Bytes of a file."""
        return int(self._sizes[index].partition(" ")[0])

    def fingerprint(self) -> str:
        """Hash of all rows and of the files' sizes (or ETags): 64 hexadecimal characters."""
        digest = hashlib.sha256(f"{_RECIPE}\0{self.classes}".encode())
        for name, column in self._table.items():
            digest.update(f"[{_json(name)}, [".encode("utf-8", "surrogatepass"))
            for begin in range(0, len(column), _VALUES_AT_ONCE):
                values = [
                    column[k] for k in range(begin, min(begin + _VALUES_AT_ONCE, len(column)))
                ]
                text = (", " if begin else "") + _json(values)[1:-1]
                digest.update(text.encode("utf-8", "surrogatepass"))
            digest.update(b"]]")
        if not _are_equal(self._table["path"], self._paths):
            digest.update("\0".join(self._paths).encode("utf-8", "surrogatepass"))
        digest.update("\0".join(self._sizes).encode())
        return digest.hexdigest()

    def describe(self, index: int, /) -> str:
        """Return the path of a sample, relative to the root."""
        return self._paths[index]

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"ManifestSource({self.uri!r}: {len(self)} images{classes})"

    def _column(
        self,
        columns: Mapping[str, Any],
        given: str | None,
        known: tuple[str, ...],
        *,
        needed: bool = True,
    ) -> str | None:
        found = [name for name in ([given] if given is not None else known) if name in columns]
        if not found and (needed or given is not None):
            wanted = repr(given) if given is not None else f"one of {', '.join(known)}"
            raise SourceError(
                f"{self.uri} has the columns {list(columns)}, expected {wanted}; say which names "
                "the files: ManifestSource(location, path_column=...)"
            )
        return found[0] if found else None

    def _safe_paths(self, column: Sequence[Any], base: str) -> Sequence[str]:
        """The paths relative to the root: the column itself if it holds them already."""
        problems: list[str] = []
        if not is_object_url(base):
            base = os.path.abspath(os.path.expanduser(base))

        def paths() -> Iterator[str]:
            for value in column:
                path = _inside(value, base) if isinstance(value, str) else None
                if path is None:
                    problems.append(repr(value))
                yield path or ""

        found = PackedNames.pack(paths())
        if problems:
            raise SourceError(
                report(f"{self.uri} names files that are not below {base}", problems)
                + "\ngive root=, the folder that all files are in"
            )
        return column if isinstance(column, PackedNames) and column.equals(found) else found

    def _labels(self, column: Sequence[Any]) -> Sequence[Any]:
        if {type(value) for value in column} in ({int}, {float}):
            return column
        if not all(isinstance(value, str) for value in column):
            raise SourceError(f"{self.uri}: labels are neither all numbers nor all text")
        self.classes = sorted(set(column))
        numbers = self.class_to_idx
        return [numbers[value] for value in column]

    def _types(self) -> dict[str, FieldSpec]:
        fields = {"image": FieldSpec("image")}
        try:
            for name, column in self._table.items():
                kinds = {type(value) for value in column}
                mixed = len(kinds) > 1
                spec = infer_field_types({name: column[0]})[name]
                fields[name] = FieldSpec("ragged", content="json") if mixed else spec
            validate_fields(fields)
        except (FieldNameError, FieldTypeError) as error:
            raise SourceError(f"{self.uri}: {error}") from error
        return fields


class _LocalFiles:
    """Files below a folder."""

    def __init__(self, base: str) -> None:
        self._base = Path(base).expanduser().absolute()

    def read(self, path: str) -> bytes:
        return (self._base / path).read_bytes()

    def sizes(self, paths: Sequence[str], where: str) -> Sequence[str]:
        """The size of each file."""
        sizes = np.empty(len(paths), np.int64)
        with ThreadPoolExecutor(_STAT_THREADS, thread_name_prefix="slipstream-stat") as pool:
            for begin in range(0, len(paths), _VALUES_AT_ONCE):
                numbers = range(begin, min(begin + _VALUES_AT_ONCE, len(paths)))
                sizes[begin : numbers.stop] = list(
                    pool.map(self._size, map(paths.__getitem__, numbers))
                )
        missing = [paths[number] for number in np.flatnonzero(sizes < 0).tolist()]
        if missing:
            raise SourceError(report(f"{where} names files that are not in {self._base}", missing))
        _check_sizes(paths, sizes.tolist(), where)
        return PackedNames.pack(map(str, sizes.tolist()))

    def _size(self, path: str) -> int:
        full = os.path.join(self._base, path)
        try:
            status = os.stat(full)
        except PermissionError as error:
            raise SourceError(f"{full} cannot be read: {error.strerror}") from error
        except OSError:
            return -1
        return status.st_size if stat.S_ISREG(status.st_mode) else -1


class _StoreFiles:
    """Objects below a URL."""

    def __init__(self, base: str, storage_options: Mapping[str, Any] | None) -> None:
        self._store = open_object_store(base, storage_options)

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def sizes(self, paths: Sequence[str], where: str) -> Sequence[str]:
        """Size and ETag of each object."""
        wanted = set(paths)
        found = {o.name: o for o in self._store.list() if o.name in wanted}
        missing = [path for path in paths if path not in found]
        if missing:
            raise SourceError(
                report(f"{where} names files that are not in {self._store.url}", missing)
            )
        _check_sizes(paths, [found[path].size for path in paths], where)
        return PackedNames.pack(f"{found[path].size} {found[path].etag}" for path in paths)


def _check_sizes(paths: Sequence[str], sizes: list[int], where: str) -> None:
    """Raise if a file would fill the memory."""
    problems = [
        f"{path} {problem}"
        for path, problem in zip(paths, map(too_large, sizes), strict=True)
        if problem is not None
    ]
    if problems:
        raise SourceError(report(f"{where} names files that are too large", problems))


def _are_equal(some: Sequence[Any], others: Sequence[Any]) -> bool:
    if isinstance(some, PackedNames) and isinstance(others, PackedNames):
        return some.equals(others)
    return some is others or list(some) == list(others)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _folder_of(uri: str) -> str:
    if is_url(uri) and not is_object_url(uri):
        raise SourceError(f"{uri}: say where the files are: ManifestSource(location, root=...)")
    return posixpath.dirname(uri) if is_url(uri) else os.path.dirname(uri)


def _inside(path: str, base: str) -> str | None:
    """A path relative to the folder; None if it leads out of it."""
    if not path or "\0" in path or not _is_encodable(path):
        return None
    if is_object_url(base):
        prefix = base.rstrip("/") + "/"
        relative = path[len(prefix) :] if path.startswith(prefix) else path
        if is_url(relative) or relative.startswith("/"):
            return None
        normal = posixpath.normpath(relative)
        return None if normal in (".", "..") or normal.startswith("../") else normal
    full = os.path.normpath(os.path.join(base, path))
    folder = os.path.join(base, "")
    is_below = full.startswith(folder) and full != folder
    return full[len(folder) :].replace(os.sep, "/") if is_below else None


def _is_encodable(path: str) -> bool:
    """Whether a file may have this name."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True

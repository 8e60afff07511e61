"""What is read of parquet footers without pyarrow: as pyarrow tells it, and from any bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_cache import CacheError
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources import TableSource, parquet_footer
from slipstream_loader.sources.parquet_footer import read_footer, row_groups

pytestmark = pytest.mark.timeout(120)


def written(num_rows: int, num_columns: int, group_rows: int) -> bytes:
    """A file with all kinds of values that footers hold."""
    columns = {f"{n} ü": [b"%d" % (row % 3) * 9 for row in range(num_rows)] for n in range(3)}
    columns |= {f"n{n}": [row % 5 for row in range(num_rows)] for n in range(num_columns)}
    schema_metadata = {"note": "x" * 300, "other": ""}
    table = pa.table(columns).append_column("list", pa.array([[1, 2], None] * (num_rows // 2)))
    file = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(schema_metadata),
        file,
        row_group_size=group_rows,
        use_dictionary=["0 ü", "1 ü", "n0"],
        write_page_index=True,
        write_page_checksum=True,
        sorting_columns=[pq.SortingColumn(0, descending=True)],
    )
    return file.getvalue()


@pytest.mark.parametrize(
    ("num_rows", "num_columns", "group_rows"), [(8, 1, 3), (40, 30, 1), (200, 20, 2)]
)
def test_as_pyarrow_tells_it(num_rows: int, num_columns: int, group_rows: int) -> None:
    """Places, numbers of values and dictionaries, in short footers and in long ones."""
    data = written(num_rows, num_columns, group_rows)
    metadata = pq.read_metadata(io.BytesIO(data))
    expected = []
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(number) for number in range(group.num_columns)]
        pairs = [(c.data_page_offset, c.dictionary_page_offset) for c in columns]
        expected.append(sum(data - first for data, first in pairs if first is not None))
    assert any(expected)
    groups = row_groups(read_footer(io.BytesIO(data)))
    assert groups.dictionary_bytes.sum(axis=1).tolist() == expected
    infos = [
        [group.column(k) for k in range(group.num_columns)]
        for group in map(metadata.row_group, range(metadata.num_row_groups))
    ]
    assert groups.num_values.tolist() == [[info.num_values for info in row] for row in infos]
    ends = (groups.ends - groups.begins).tolist()
    assert ends == [[info.total_compressed_size for info in row] for row in infos]


def test_any_changed_byte(tmp_path: Path) -> None:
    """Of a footer, size statistics included: samples or our errors; the process goes on."""
    path, file = tmp_path / "a.parquet", io.BytesIO()
    pq.write_table(pa.table({"a": ["x", None, "yy"]}), file, store_schema=False)
    data = file.getvalue()
    length = int.from_bytes(data[-8:-4], "little") + 8
    told = 0
    for place in range(len(data) - length, len(data)):
        for bits in (1, 2, 0x10, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= bits
            path.write_bytes(damaged)
            try:
                source = TableSource(path)
                [source[index] for index in range(len(source))]
            except (SourceError, SampleReadError, CacheError):
                told += 1
    assert told > length


def test_dictionaries_whose_place_is_not_told() -> None:
    """As writers before parquet-mr 1.12 leave it out: the encodings tell that there is one."""
    facts = {2: [0, 3, 2], 5: 7, 7: 90, 9: 4}
    assert parquet_footer._column_facts({3: facts}) == (4, 94, 7, 1)
    assert parquet_footer._column_facts({3: facts | {11: 0}}) == (4, 94, 7, 1)
    assert parquet_footer._column_facts({3: facts | {2: [0, 3]}}) == (4, 94, 7, 0)
    assert parquet_footer._column_facts({3: facts | {9: 40, 11: 4}}) == (4, 94, 7, 36)

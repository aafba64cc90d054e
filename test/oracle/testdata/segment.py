"""Prints what pyarrow finds in a Parquet file, as JSON: its version, the groups of rows, and each column with its type and values."""

import decimal
import json
import sys

import pyarrow
import pyarrow.parquet as parquet


def plain(value):
    """The value in a form that says every bit of it."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def column(table, name):
    data = table.column(name)
    kind = str(data.type)
    if isinstance(data.type, pyarrow.BaseExtensionType):
        data = pyarrow.chunked_array([chunk.storage for chunk in data.chunks])
    if pyarrow.types.is_timestamp(data.type) or pyarrow.types.is_time64(data.type):
        data = data.cast(pyarrow.int64())
    if pyarrow.types.is_date32(data.type):
        data = data.cast(pyarrow.int32())
    return {"name": name, "type": kind, "values": [plain(v) for v in data.to_pylist()]}


file = parquet.ParquetFile(sys.argv[1])
table = file.read()
json.dump(
    {"version": pyarrow.__version__, "groups": file.num_row_groups, "columns": [column(table, name) for name in table.column_names]},
    sys.stdout,
)

"""DuckDB: ranged reads of Parquet, globs, and uploads in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture
def connection(python_client: Callable[[str], ModuleType], endpoint: Any) -> Iterator[Any]:
    duckdb = python_client("duckdb")
    # The extension comes in a package; DuckDB itself would download it.
    python_client("duckdb_extensions").import_extension("httpfs")
    with duckdb.connect() as connection:
        connection.load_extension("httpfs")
        if endpoint.secure:
            connection.execute(f"SET ca_cert_file = '{endpoint.ca_file}'")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{endpoint.access_key}', SECRET '{endpoint.secret}',"
            f" ENDPOINT '{endpoint.host}', REGION '{endpoint.region}', URL_STYLE 'path', USE_SSL {endpoint.secure})"
        )
        yield connection


def test_parquet(connection: Any, bucket: str) -> None:
    path = f"s3://{bucket}/a b+c/table.parquet"
    connection.execute(f"COPY (SELECT i, repeat('x', 100) AS x FROM range(300000) t(i)) TO '{path}'")
    assert connection.sql(f"SELECT count(*), sum(i) FROM '{path}'").fetchall() == [(300_000, 44_999_850_000)]
    assert connection.sql(f"SELECT i FROM '{path}' WHERE i = 123456").fetchall() == [(123_456,)]


def test_partitions(connection: Any, bucket: str) -> None:
    connection.execute(
        f"COPY (SELECT i, i % 3 AS part FROM range(3000) t(i)) TO 's3://{bucket}/data'"
        " (FORMAT parquet, PARTITION_BY part)"
    )
    counted = connection.sql(
        f"SELECT part, count(*) FROM read_parquet('s3://{bucket}/data/*/*.parquet') GROUP BY ALL ORDER BY ALL"
    )
    assert counted.fetchall() == [(0, 1000), (1, 1000), (2, 1000)]


def test_csv_and_globs(connection: Any, bucket: str) -> None:
    for number in range(3):
        connection.execute(f"COPY (SELECT {number} AS n FROM range(10)) TO 's3://{bucket}/folder/{number}.csv'")
    assert connection.sql(f"SELECT sum(n) FROM 's3://{bucket}/folder/[12].csv'").fetchall() == [(30,)]
    found = connection.sql(f"FROM glob('s3://{bucket}/**')").fetchall()
    assert sorted(found) == [(f"s3://{bucket}/folder/{number}.csv",) for number in range(3)]

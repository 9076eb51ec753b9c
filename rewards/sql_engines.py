"""Read-only databases in this process: sqlite and duckdb.

A query has a deadline, may return a limited number of rows and bytes, and can access neither files nor settings. The
tables that it read are reported, so that a result made of constants can be recognised.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Timer
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from rewards.sql_rows import Row, plain_cell

Engine = Literal["sqlite", "duckdb"]
Half = Literal["even", "odd"]


class Copy(NamedTuple):
    """A changed copy of a database: without half of the rows of every table, or with another value in one column."""

    half: Half
    """The rows that remain or, with a column, those that change, counted from 1 in the order of each table."""
    table: str = ""
    column: str = ""
    """The column that changes; empty if rows are removed."""
    value: int | float | str | None = None
    """The new value; None for another one in each row: a larger number, or the old text with one letter more."""

    @property
    def touched(self) -> Literal[0, 1]:
        """The remainder, divided by 2, of the rows that are removed or changed."""
        return 1 if (self.half == "odd") == bool(self.column) else 0


LONGEST_QUERY = 20_000
MOST_ROWS = 20_000
_MOST_BYTES = 16 * 2**20
_LONGEST_VALUE = 2**20
_SQLITE_HEAP_BYTES = 256 * 2**20
_STEPS_BETWEEN_LOOKS = 10_000
_MOST_COPIED_BYTES = 32 * 2**20
_VOLATILE = re.compile(
    r"\b(?:random|randomblob|uuid|uuidv4|uuidv7|gen_random_uuid|setseed|nextval|load_extension|fts3_tokenizer)\s*\(",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"[;\n]|^\s*(?:create|insert|begin|pragma)\s", re.IGNORECASE)


class QueryError(Exception):
    """A query or script did not run to its end; the message says why in a few words."""


class Result(NamedTuple):
    """The rows that a query returned, and the tables that it read."""

    rows: list[Row]
    tables: frozenset[str]
    """Lower-case names of the tables that were read."""
    reads_columns: bool
    """Whether the query read any column, and not only the number of rows."""


def run_query(
    sql: str, *, database: str, engine: Engine, most_rows: int, seconds: float, copy: Copy | None = None
) -> Result:
    """Run one read-only query.

    Args:
        sql: One statement.
        database: The path of a database file, or a script that creates a database in memory.
        engine: The database system.
        most_rows: The query fails if it returns more rows.
        seconds: The query fails if it takes longer; creating the database has the same limit of its own.
        copy: The changed copy on which the query runs; None for the database itself.

    Raises:
        QueryError: the query does not parse, is not read-only, fails, or exceeds a limit.
        MemoryError: duckdb ran out of memory.
        FileNotFoundError: the database file does not exist.
        DatabaseError: the script does not run.
    """
    if len(sql) > LONGEST_QUERY:
        raise QueryError(f"longer than {LONGEST_QUERY} characters")
    if sql.encode(errors="replace").decode() != sql:
        raise QueryError("not Unicode text")
    if _VOLATILE.search(sql):
        raise QueryError("calls a function whose value changes")
    is_script = _SCRIPT.search(database) is not None
    changed = 0 if is_script else Path(database).stat().st_mtime_ns
    if engine == "sqlite":
        connection = _open_sqlite(database, is_script, changed, seconds, copy)
        return _run_sqlite(connection, sql, most_rows=most_rows, seconds=seconds)
    connection = _open_duckdb(database, is_script, changed, seconds, copy)
    return _run_duckdb(connection, sql, most_rows=most_rows, seconds=seconds)


class DatabaseError(Exception):
    """The database could not be opened or created."""


@lru_cache(maxsize=24)
def _open_sqlite(database: str, is_script: bool, changed: int, seconds: float, copy: Copy | None) -> sqlite3.Connection:
    """Open a read-only connection; `changed` only distinguishes cache entries."""
    if is_script:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
    else:
        # Opened as immutable, so that no locks or journal files are created beside a database that belongs to someone
        # else.
        uri = f"file:{quote(str(Path(database).absolute()))}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        if copy is not None:
            connection = _in_memory(connection, database)
    connection.text_factory = _decoded
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA hard_heap_limit={_SQLITE_HEAP_BYTES}")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 * _LONGEST_VALUE if is_script else _LONGEST_VALUE)
    if is_script:
        connection.set_authorizer(_script_authorizer)
        connection.set_progress_handler(_deadline(seconds), _STEPS_BETWEEN_LOOKS)
        try:
            connection.executescript(database)
            connection.commit()
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
            raise DatabaseError(f"{error!s:.200}") from error
    connection.set_authorizer(None)
    if copy is not None:
        _change(connection, copy, seconds=seconds)
    connection.execute("PRAGMA query_only=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)
    return connection


def _run_sqlite(connection: sqlite3.Connection, sql: str, *, most_rows: int, seconds: float) -> Result:
    reads: set[tuple[str, str]] = set()

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            reads.add(((first or "").lower(), second or ""))
            return sqlite3.SQLITE_OK
        # An update of the schema is reported when a table-valued function such as json_each is declared; the schema
        # itself is not writable.
        harmless = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
        declares = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
        return sqlite3.SQLITE_OK if harmless or declares else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)
    connection.set_progress_handler(_deadline(seconds), _STEPS_BETWEEN_LOOKS)
    try:
        cursor = connection.execute(sql)
        rows = _fetched(cursor, most_rows=most_rows)
        cursor.close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise QueryError("passed the time limit" if str(error) == "interrupted" else f"{error!s:.200}") from error
    except MemoryError as error:  # sqlite's own limit, far below that of the process
        raise QueryError("needs too much memory") from error
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)
    tables = frozenset(table for table, _ in reads)
    return Result(rows=rows, tables=tables, reads_columns=any(column for _, column in reads))


def _in_memory(connection: sqlite3.Connection, database: str) -> sqlite3.Connection:
    """Copy a small database file into memory.

    Raises:
        DatabaseError: the file is too large, or not a database.
    """
    try:
        if Path(database).stat().st_size > _MOST_COPIED_BYTES:
            raise DatabaseError("too large to be copied")
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        connection.backup(copy)
    except sqlite3.Error as error:
        raise DatabaseError(f"{error!s:.200}") from error
    finally:
        connection.close()
    return copy


def _change(connection: sqlite3.Connection, copy: Copy, *, seconds: float) -> None:
    """Make a database the changed copy.

    Raises:
        DatabaseError: this takes too long, or the column may not have the value.
    """
    connection.set_progress_handler(_deadline(seconds), _STEPS_BETWEEN_LOOKS)
    try:
        found = connection.execute("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'trigger')").fetchall()
        for kind, name in sorted(found, reverse=True):  # triggers before tables
            if kind == "trigger":
                connection.execute(f"DROP TRIGGER {quoted(str(name))}")
                continue
            if copy.column and str(name).lower() != copy.table:
                continue
            rows = f"SELECT rowid AS r, row_number() OVER (ORDER BY rowid) AS n FROM {quoted(str(name))}"
            statement, values = change_statement(str(name), copy, engine="sqlite")
            try:
                connection.execute(
                    f"{statement} WHERE rowid IN (SELECT r FROM ({rows}) WHERE n % 2 = {copy.touched})", values
                )
            except sqlite3.OperationalError as error:
                if copy.column or str(error) == "interrupted":
                    raise
                # A table without row numbers, or one of sqlite's own, stays as it is.
        connection.commit()
    except sqlite3.Error as error:
        raise DatabaseError(f"{error!s:.200}") from error
    finally:
        connection.set_progress_handler(None, 0)


def change_statement(table: str, copy: Copy, *, engine: Engine) -> tuple[str, list[int | float | str]]:
    """Return the statement, without its condition, that removes or changes rows of a table, and its values."""
    if not copy.column:
        return f"DELETE FROM {quoted(table)}", []
    column = quoted(copy.column)
    if copy.value is not None:
        return f"UPDATE {quoted(table)} SET {column} = ?", [copy.value]
    other = f"CASE typeof({column}) WHEN 'text' THEN {column} || 'x' ELSE {column} + 1000003 END"
    if engine == "duckdb":  # whose columns have one type each
        larger = f"CAST(TRY_CAST({column} AS BIGINT) + 1000003 AS VARCHAR)"
        other = f"CASE typeof({column}) WHEN 'VARCHAR' THEN {column} || 'x' ELSE {larger} END"
    return f"UPDATE {quoted(table)} SET {column} = {other}", []


def quoted(name: str) -> str:
    """Return a name of a table or column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _script_authorizer(action: int, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_IGNORE  # dumps set some pragmas; none is needed
    # VACUUM INTO writes a file, and asks for ATTACH.
    refused = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_VTABLE)
    return sqlite3.SQLITE_DENY if action in refused else sqlite3.SQLITE_OK


def _deadline(seconds: float) -> Any:
    """Install a progress handler that stops the statement at the deadline."""
    stop = time.monotonic() + seconds
    return lambda: int(time.monotonic() > stop)


@lru_cache(maxsize=24)
def _open_duckdb(database: str, is_script: bool, changed: int, seconds: float, copy: Copy | None) -> Any:
    """Open a read-only connection; `changed` only distinguishes cache entries."""
    import duckdb

    if copy is not None and not is_script:
        raise DatabaseError("a duckdb file is not copied")
    config: dict[str, Any] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "memory_limit": "512MB",
        "threads": 1,
    }
    try:
        connection = duckdb.connect(":memory:" if is_script else database, read_only=not is_script, config=config)
        if is_script:
            _timed(connection, database, seconds=seconds)
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() if copy else []:
            if copy is None or (copy.column and str(name).lower() != copy.table):
                continue
            statement, values = change_statement(str(name), copy, engine="duckdb")
            _timed(connection, f"{statement} WHERE (rowid + 1) % 2 = {copy.touched}", seconds=seconds, values=values)
        connection.execute("SET max_temp_directory_size='0KB'")
        connection.execute("SET lock_configuration=true")
    except duckdb.Error as error:
        raise DatabaseError(f"{error!s:.200}") from error
    return connection


def _run_duckdb(connection: Any, sql: str, *, most_rows: int, seconds: float) -> Result:
    import duckdb
    from sqlglot import exp

    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError("You can only execute one statement at a time.")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError("not authorized")
        tables = frozenset(str(name).lower() for name in connection.get_table_names(sql))
        rows = _timed(connection, sql, seconds=seconds, most_rows=most_rows)
    except duckdb.OutOfMemoryException as error:
        # duckdb may not free its memory: the error ends this worker, and the next sample gets a fresh one.
        raise MemoryError(str(error)) from error
    except (duckdb.Error, ValueError, RuntimeError) as error:
        late = isinstance(error, duckdb.InterruptException)
        raise QueryError("passed the time limit" if late else f"{error!s:.200}") from error
    tree = parsed(sql, engine="duckdb")
    stars = any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star))
    return Result(rows=rows, tables=tables, reads_columns=stars or tree.find(exp.Column) is not None)


def _timed(
    connection: Any, sql: str, *, seconds: float, most_rows: int = 0, values: Sequence[int | float | str] = ()
) -> list[Row]:
    timer = Timer(seconds, connection.interrupt)
    timer.start()
    try:
        cursor = connection.execute(sql, list(values))
        return _fetched(cursor, most_rows=most_rows) if most_rows else []
    finally:
        timer.cancel()


def parsed(sql: str, *, engine: Engine) -> Any:
    """Parse one statement into a syntax tree.

    Raises:
        QueryError: sqlglot cannot parse it.
    """
    from sqlglot import parse_one
    from sqlglot.errors import SqlglotError

    try:
        return parse_one(sql, read=engine)
    except (SqlglotError, RecursionError) as error:
        raise QueryError(f"sqlglot cannot parse it: {error!s:.200}") from error


def _fetched(cursor: Any, *, most_rows: int) -> list[Row]:
    """Fetch all rows of a cursor.

    Raises:
        QueryError: there are too many rows, or they are too large.
    """
    rows: list[Row] = []
    size = 0
    while row := cursor.fetchone():
        cells = tuple(plain_cell(value) for value in row)
        size += sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in cells)
        if len(rows) >= most_rows or size > _MOST_BYTES:
            raise QueryError("too many rows" if size <= _MOST_BYTES else "too large a result")
        rows.append(cells)
    return rows


def _decoded(value: bytes) -> str:
    return value.decode(errors="replace")

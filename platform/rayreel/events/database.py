"""Connections to the event store."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from rayreel.durable import full_disk
from rayreel.events.config import EventsConfig, EventsUnavailable
from rayreel.events.partitions import create_partitioned
from rayreel.events.tables import events, metadata
from rayreel.storage import Storage

# Writes lock SQLite at their start: a read that becomes a write could fail without waiting.
WRITES = {"writes": True}
# A number of our own, for PostgreSQL's lock while tables are created.
CREATING = 7_312_017


class Database:
    """The database of events. Thread-safe; opened at the first use, so that services without users need none."""

    def __init__(self, config: EventsConfig, storage: Storage) -> None:
        self._config, self._storage = config, storage
        self._engine: Engine | None = None
        self._opening = Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for reads. Raises EventsUnavailable."""
        with self._errors(), self._opened().connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection whose changes are on disk when the block ends without an error.

        Raises EventsUnavailable, StorageFull.
        """
        with self._errors(), self._opened().connect().execution_options(**WRITES) as connection, connection.begin():
            yield connection

    def truncate_log(self) -> bool:
        """Empty SQLite's write-ahead log, which has copies of deleted rows; return whether no reader prevented it."""
        with self._errors(), self._opened().connect() as connection:
            if connection.dialect.name != "sqlite":
                return True
            driver: Any = connection.connection.dbapi_connection
            return not driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = self._sqlite() if not self._config.url.get_secret_value() else self._server()
                _create_tables(engine)
                self._engine = engine
            return self._engine

    def _sqlite(self) -> Engine:
        if not self._storage.is_local:
            raise EventsUnavailable(
                f"Events need a database, and SQLite needs a local folder, but the storage root is "
                f"{self._storage.root}. Set events.url to a PostgreSQL database."
            )
        path = self._storage.local("events", "events.db", what="The event store")
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": self._config.wait_s})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _server(self) -> Engine:
        try:
            url = make_url(self._config.url.get_secret_value())
            if url.get_backend_name() == "postgresql":  # MLflow's image has it, and its COPY is used
                url = url.set(drivername="postgresql+psycopg2")
            return create_engine(url, pool_pre_ping=True, client_encoding="utf8")
        except (ArgumentError, ImportError) as error:
            raise EventsUnavailable(
                f"events.url cannot be used: {error}. Write it as postgresql://user:password@host/name, and install "
                "rayreel[postgres]."
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            if (full := full_disk(error)) is not None:
                raise full from error
            cause = getattr(error, "orig", None) if isinstance(error, OperationalError) else None
            raise EventsUnavailable(
                f"The event store failed: {str(cause or error).strip()}. Check events.url and the database."
            ) from error


def _create_tables(engine: Engine) -> None:
    """Create missing tables. Replicas that start together do so one after the other."""
    # SQLite does not wait for another connection that switches to the write-ahead log too, as the first ones do.
    lock = FileLock(f"{engine.url.database}.lock") if engine.dialect.name == "sqlite" else nullcontext()
    with lock, engine.connect().execution_options(**WRITES) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATING})")
            create_partitioned(connection)
        _add_columns(connection)
        own = [table for table in metadata.sorted_tables if table is not events or connection.dialect.name == "sqlite"]
        metadata.create_all(connection, tables=own)


def _add_columns(connection: Connection) -> None:
    """Add the columns that tables of an earlier version lack; all new ones may be null."""
    found = inspect(connection)
    for table in metadata.sorted_tables:
        known = {column["name"] for column in found.get_columns(table.name)} if found.has_table(table.name) else set()
        for column in (column for column in table.columns if known and column.name not in known):
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
            for index in (index for index in table.indexes if column in set(index.columns)):
                index.create(connection)


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - of the driver
    """Set up a connection: a commit is on disk, deleted rows are overwritten, and transactions are begun below."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

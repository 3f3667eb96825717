"""Deleting everything that is kept of a user."""

import logging
import time
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from rayreel.client.events import DeletionReceipt
from rayreel.events.database import Database
from rayreel.events.export import forget_exported, name_of_session
from rayreel.events.partitions import forget_keys
from rayreel.events.read import Owner, belongs_to
from rayreel.events.tables import deletions, events, recommendations, sessions
from rayreel.events.write import digests
from rayreel.storage import Storage

log = logging.getLogger(__name__)

TRUNCATE_ATTEMPTS = 20


def forget(database: Database, storage: Storage, user_id: str) -> DeletionReceipt:
    """Delete a user's events, sessions and answers, and their rows in exports; return the receipt.

    Events of the time before are refused from then on, so that neither a late request nor an import brings them back.
    """
    receipt_id, now = uuid.uuid4().hex, time.time()
    with database.writing() as connection:
        joined = connection.execute(select(sessions.c.session_id).where(sessions.c.user_id == user_id)).scalars().all()
        forget_keys(connection, belongs_to(events, Owner(user_id, None)))
        owned = {
            table.name: connection.execute(delete(table).where(belongs_to(table, Owner(user_id, None)))).rowcount
            for table in (events, recommendations)
        }
        connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
        _record(connection, list(digests(user_id, joined)), receipt_id, now)
    exported = forget_exported(storage, [user_id, *map(name_of_session, joined)])
    _overwrite(database)
    return DeletionReceipt(
        receipt_id=receipt_id,
        user_id=user_id,
        deleted_at=now,
        events=owned["events"],
        sessions=len(joined),
        recommendations=owned["recommendations"],
        exported=exported,
    )


def _record(connection: Connection, found: Sequence[str], receipt_id: str, now: float) -> None:
    """Remember that people were deleted, by digest."""
    connection.execute(delete(deletions).where(deletions.c.digest.in_(found)))
    rows = [{"digest": digest, "receipt_id": receipt_id, "deleted_at": now} for digest in found]
    connection.execute(deletions.insert(), rows)


def _overwrite(database: Database) -> None:
    """Empty SQLite's log. A reader that is still open may delay this."""
    for _ in range(TRUNCATE_ATTEMPTS):
        if database.truncate_log():
            return
        time.sleep(0.1)
    log.warning("SQLite's write-ahead log is in use and was not emptied. The next deletion or restart empties it.")

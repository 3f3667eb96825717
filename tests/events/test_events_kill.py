"""A writer that is killed loses nothing that it has acknowledged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.read import Owner, done_by
from rayreel.storage import Storage

WRITE = """
import sys

from event_rows import event_row
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.writer import EventWriter
from rayreel.storage import Storage

writer = EventWriter(Database(EventsConfig(), Storage(sys.argv[1])), EventsConfig())
for start in range(0, 10**6, 20):
    futures = [writer.add([event_row(f"e{n}", "ann", f"v{n}")]) for n in range(start, start + 20)]
    for number, future in enumerate(futures, start):
        future.result()
        print(number, flush=True)
"""
ACKNOWLEDGED = 200
TESTS = Path(__file__).parents[1]


def test_every_acknowledged_event_survives_a_killed_writer(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=TESTS) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(ACKNOWLEDGED)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines() if line.isdecimal()]
    database = Database(EventsConfig(), Storage(tmp_path))
    with database.reading() as connection:
        kept = {int(done.video_id[1:]) for done in done_by(connection, Owner("ann", None))}
    database.close()
    assert set(acknowledged) <= kept and len(acknowledged) >= ACKNOWLEDGED

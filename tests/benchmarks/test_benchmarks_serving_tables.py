import email
from email.message import Message
from io import StringIO

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.serving.arrivals import Outcome
from benchmarks.serving.compare import BARE, MILVUS, SERVICE, Calm, Climb, Comparison
from benchmarks.serving.ladder import Rung
from benchmarks.serving.queries import Law
from benchmarks.serving.tables import calm_table, climbs_table, rungs_table, uploads_table, verdicts
from benchmarks.serving.uploads import Uploads, upload


def outcome(latency_ms: float, failed: int = 0) -> Outcome:
    status = np.full(100, 200)
    status[:failed] = 503
    return Outcome(np.arange(100.0), np.full(100, latency_ms), status)


def climb(server: str, law: Law, rate: float) -> Climb:
    rungs = [Rung(rate, held=True, outcome=outcome(8.0)), Rung(rate * 2, held=False, outcome=outcome(800.0, failed=3))]
    return Climb(server, law, rungs)


def comparison(uniform: float, zipf: float, over_ms: float) -> Comparison:
    climbs = [climb(SERVICE, "uniform", uniform), climb(SERVICE, "zipf", zipf)]
    climbs += [climb(BARE, "uniform", 400.0), climb(BARE, "zipf", 400.0)]
    return Comparison(climbs, [Calm("rayreel, by embedding", outcome(7 + over_ms)), Calm(MILVUS, outcome(7.0))])


def shown(table: Table) -> str:
    out = StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def test_targets_are_judged_by_ratios_of_the_highest_rates_held() -> None:
    met = list(verdicts(comparison(uniform=440, zipf=640, over_ms=3)))
    missed = list(verdicts(comparison(uniform=396, zipf=596, over_ms=5)))
    assert [line.rpartition(" ")[2] for line in met] == ["met"] * 3
    assert [line.rpartition(" ")[2] for line in missed] == ["missed"] * 3
    assert "440 against 400" in met[0] and "1.60 x" in met[1] and "+3.0 ms" in met[2]


def test_a_machine_on_which_even_the_bare_server_holds_nothing_judges_nobody() -> None:
    found = comparison(uniform=440, zipf=640, over_ms=3)
    found.climbs[2:] = [Climb(BARE, "uniform", []), Climb(BARE, "zipf", [])]
    assert [line for line in verdicts(found) if "not judged" in line] == list(verdicts(found))[:2]
    assert "inf" not in shown(climbs_table(found))


def test_every_rate_that_was_tried_is_shown_with_its_failures() -> None:
    text = shown(rungs_table(climb(SERVICE, "zipf", 250.0)))
    assert "250" in text and "500" in text and "800.0" in text and " 3 " in text
    assert "250" in shown(climbs_table(comparison(250, 400, 1))) and MILVUS in shown(calm_table(comparison(1, 1, 1)))


def test_the_highest_rate_of_uploads_is_marked() -> None:
    rungs = [Rung(4.0, held=True, outcome=outcome(90)), Rung(6.0, held=True, outcome=outcome(99))]
    lines = shown(uploads_table([Uploads("on", rungs)])).splitlines()
    (marked,) = (line for line in lines if "highest" in line)
    assert " 6.0 " in marked


def test_an_upload_is_a_form_with_the_whole_file() -> None:
    content = bytes(range(256)) * 3
    head, _, body = upload(content, title="A cat").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
    form = email.message_from_bytes(kind + b"\r\n\r\n" + body)
    fields = {_name(part): part.get_payload(decode=True) for part in form.get_payload() if isinstance(part, Message)}
    assert fields == {"title": b"A cat", "file": content}


def _name(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))

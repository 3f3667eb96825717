"""Reports: each person is one observation of their first arm, for the same time, and guardrails end arms."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import create_engine, text

from event_rows import NOW, event_row
from live_case import Release, at
from rayreel.client.experiments import ArmReport, ExperimentReport
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.forget import forget
from rayreel.events.read import Owner, ends_of
from rayreel.events.write import AnswerRow, EventRow, add_answers, add_end, add_events
from rayreel.experiments.guard import guard, out_of_bounds
from rayreel.experiments.plan import Experiment
from rayreel.experiments.report import report
from rayreel.experiments.taking_part import TakenPart, instead_of, part_of
from rayreel.recommendation.live import Live
from rayreel.release import audit
from rayreel.release.registry import MODEL
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_rows import release_row
from tracking_database import with_database

DAY = 86_400.0
PLAN = {
    "scenario": "home",
    "arms": {"control": {"share": 0.5}, "new": {"share": 0.5, "scenario": "newer"}},
    "window_s": DAY,
    "min_users": 2,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Eight videos: v0 to v3 of the sea, v4 to v7 of the sky; two of each creator."""
    rows = (
        release_row(
            f"v{n}", embedding=at(10.0 * n), category="sea" if n < 4 else "sky", extra={"creator": f"c{n // 2}"}
        )
        for n in range(8)
    )
    return Release(tmp_path_factory.mktemp("experiment"), rows, neighbours=4).live


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(EventsConfig(), Storage(tmp_path))
    yield opened
    opened.close()


def answered(
    database: Database,
    answer_id: str,
    user: str | None,
    arm: str,
    *shown: int,
    at: float = NOW,
    session: str | None = None,
) -> None:
    videos = json.dumps([f"v{n}" for n in shown])
    row = AnswerRow(answer_id, user, session, at, 1, "{}", videos, 0, None, "x", arm)
    with database.writing() as connection:
        add_answers(connection, [row])


def did(
    database: Database, answer_id: str, video: int, kind: str = "view", value: float | None = None, at: float = NOW
) -> None:
    row: EventRow = event_row(f"{answer_id}{video}{kind}{at}", "anyone", f"v{video}", kind, value, at=at)
    with database.writing() as connection:
        add_events(connection, [row._replace(recommendation_id=answer_id)])


def reported(database: Database, live: Live, now: float = NOW + 2 * DAY, **changed: object) -> dict[str, ArmReport]:
    with database.reading() as connection:
        found = report(connection, live, "x", Experiment.model_validate(PLAN | changed), now)
    return {arm.arm: arm for arm in found.arms}


def test_means_are_of_people_and_of_results_that_were_seen(database: Database, live: Live) -> None:
    answered(database, "r1", "ann", "control", 0, 1, 2, 3)
    answered(database, "r2", "bob", "control", 0, 1)
    did(database, "r1", 0, value=4.0)
    did(database, "r1", 0, "dwell", 9.0)  # of the same view
    did(database, "r1", 2, "like")
    did(database, "r1", 7)  # was not in the answer
    rows = reported(database, live)
    assert (rows["control"].users, rows["control"].shown, rows["control"].videos) == (2, 6, 4)
    assert rows["control"].ctr == pytest.approx((2 / 4 + 0) / 2) and rows["control"].dwell_s == 4.5
    assert rows["new"].users == 0 and rows["new"].ctr is None and rows["new"].drift is None
    did(database, "r1", 0, "impression")  # now clients are known to say what was seen
    assert reported(database, live)["control"].shown == 2  # v0, and v2, which was liked
    assert reported(database, live)["control"].users == 1  # bob has seen nothing


def test_a_person_counts_for_their_first_arm_and_only_in_their_time(database: Database, live: Live) -> None:
    answered(database, "r1", None, "new", 0, 1, session="s")
    answered(database, "r2", "ann", "control", 4, 5, session="s", at=NOW + 10)  # signs in: another arm
    answered(database, "r3", "ann", "new", 2, 3, at=NOW + 20)
    answered(database, "r4", "ann", "new", 6, 7, at=NOW + 2 * DAY)
    did(database, "r1", 0)
    did(database, "r2", 4)
    did(database, "r3", 2, at=NOW + 1.5 * DAY)
    rows = reported(database, live)
    assert rows["control"].users + rows["control"].waiting == 0
    assert (rows["new"].users, rows["new"].shown, rows["new"].ctr) == (1, 4, 0.25)
    early = reported(database, live, now=NOW + DAY / 2)["new"]
    assert (early.users, early.waiting, early.ctr) == (0, 1, None)


def test_differences_need_enough_people(database: Database, live: Live) -> None:
    for n in range(60):
        answered(database, f"r{n}", f"u{n}", "control" if n % 2 else "new", 0, 1, at=NOW + n)
        if n % 4 == 0 or (n % 2 == 1 and n % 3 == 0):
            did(database, f"r{n}", 0, value=2.0, at=NOW + n)
    difference = reported(database, live)["new"].ctr_difference
    assert difference is not None and difference.low < difference.value < difference.high
    assert difference.value == pytest.approx(0.5 * (1 / 2 - 1 / 3))
    assert reported(database, live, min_users=31)["new"].ctr_difference is None
    assert reported(database, live)["control"].ctr_difference is None


def test_what_an_arm_shows_is_compared_in_equally_many_results(database: Database, live: Live) -> None:
    for n in range(8):
        answered(database, f"c{n}", f"c{n}", "control", n % 4, 4 + n % 4)
    for n in range(2):
        answered(database, f"n{n}", f"n{n}", "new", 0, 1)
    rows = reported(database, live)
    assert rows["control"].videos == 8 and rows["new"].videos == 2
    assert rows["control"].different is not None and 3 < rows["control"].different < 4  # in four results
    assert rows["new"].different == 2 and rows["new"].coverage == 0.25
    assert rows["new"].drift == pytest.approx(0.3113, abs=1e-4)  # half sea, half sky against sea alone
    assert rows["control"].repeated_creators == 0 and rows["new"].repeated_creators == 0.5
    did(database, "none", 0, at=NOW - DAY)  # one person had watched v0 before
    with_past = reported(database, live)["new"].novelty
    assert with_past == pytest.approx((0 + 1) / 2)


@pytest.mark.parametrize(
    ("guardrails", "reason"),
    [
        ({"min_coverage": 0.9}, "coverage is 0."),
        ({"max_drift": 0.3}, "differ from the control's by 0.311 bits"),
        ({"max_repeated": 0.4}, "repeated creators is 0.500"),
        ({"min_coverage": 0.2, "max_drift": 0.4, "max_repeated": 0.6}, None),
    ],
)
def test_an_arm_out_of_bounds_is_named_with_the_reason(
    database: Database, live: Live, guardrails: dict[str, float], reason: str | None
) -> None:
    for n in range(4):
        answered(database, f"c{n}", f"c{n}", "control", n % 4, 4 + n % 4)
        answered(database, f"n{n}", f"n{n}", "new", 0, 1)
    plan = Experiment.model_validate(PLAN | {"guardrails": guardrails})
    with database.reading() as connection:
        found: ExperimentReport = report(connection, live, "x", plan, NOW)
    broken = list(out_of_bounds(found, plan))
    assert [arm for arm, _ in broken] == ([] if reason is None else ["new"])
    assert not [why for _, why in broken if reason and reason not in why]
    assert not list(out_of_bounds(found, plan.model_copy(update={"min_users": 5})))


def test_a_guardrail_ends_an_arm_once_and_the_audit_trail_says_why(
    database: Database, live: Live, tmp_path: Path
) -> None:
    for n in range(4):
        answered(database, f"c{n}", f"c{n}", "control", n % 4, 4 + n % 4)
        answered(database, f"n{n}", f"n{n}", "new", 0, 1)
    plans = {
        "x": Experiment.model_validate(PLAN | {"guardrails": {"max_drift": 0.3}}),
        "y": Experiment.model_validate(PLAN),
    }
    use_tracking(with_database(tmp_path / "tracking"))
    mlflow.MlflowClient().create_registered_model(MODEL)
    try:
        assert guard(database, live, plans, "replica") == [("x", "new")]
        assert guard(database, live, plans, "another") == []
        trail = audit.events()
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    assert [(event["event"], event["by"], event["version"]) for event in trail] == [("arm ended", "replica", 1)]
    assert "experiment x, arm new: categories differ from the control's by 0.311 bits" in trail[0]["reason"]
    assert reported(database, live)["new"].ended == "categories differ from the control's by 0.311 bits, above 0.3"


def test_users_of_an_ended_arm_return_to_the_control_and_it_ends_once(database: Database, live: Live) -> None:
    plan = Experiment.model_validate(PLAN)
    people = {plan.arm_of("x", f"u{n}"): f"u{n}" for n in range(20)}

    def part(arm: str, scenario: str = "home") -> TakenPart | None:
        with database.reading() as connection:
            return part_of(connection, {"x": plan}, scenario, Owner(people[arm], None))

    assert part("new") == TakenPart("x", "new", "newer") and part("control") == TakenPart("x", "control", "home")
    assert part("new", "other") is None
    with database.writing() as connection:
        assert add_end(connection, "x", "new", "me", "too narrow")
        assert not add_end(connection, "x", "new", "me", "again")
    assert part("new") == TakenPart("x", "control", "home")
    with database.reading() as connection:
        assert ends_of(connection, "x") == {"new": "too narrow"} and ends_of(connection, "y") == {}
    answered(database, "r1", people["new"], "new", 0)
    answered(database, "r2", people["new"], "control", 1, at=NOW + 1)
    rows = reported(database, live)
    assert rows["new"].ended == "too narrow" and rows["control"].users == 0


def test_an_arm_has_a_release_and_without_it_the_answers_of_the_control(database: Database, live: Live) -> None:
    arms = {"control": {"share": 0.5, "release": 3}, "new": {"share": 0.5, "release": 4}}
    plan = Experiment.model_validate(PLAN | {"arms": arms})
    person = next(f"u{n}" for n in range(50) if plan.arm_of("x", f"u{n}") == "new")
    with database.reading() as connection:
        part = part_of(connection, {"x": plan}, "home", Owner(person, None))
        found = report(connection, live, "x", plan, NOW, kept=[3])
        unknown = report(connection, live, "x", plan, NOW)
    assert part == TakenPart("x", "new", "home", 4)
    control = instead_of(part, {"x": plan})
    assert control == TakenPart("x", "control", "home", 3)
    assert instead_of(control, {"x": plan}) == TakenPart("x", "control", "home", None)
    assert [(arm.release, arm.lacks_release) for arm in found.arms] == [(3, False), (4, True)]
    assert not any(arm.lacks_release for arm in unknown.arms)


def test_a_deleted_person_is_in_no_report(database: Database, live: Live, tmp_path: Path) -> None:
    answered(database, "r1", "ann", "control", 0)
    forget(database, Storage(tmp_path), "ann")
    assert reported(database, live)["control"].shown == 0


def test_a_database_of_an_earlier_version_gets_the_columns_it_lacks(tmp_path: Path, live: Live) -> None:
    (tmp_path / "events").mkdir()
    engine = create_engine(f"sqlite:///{tmp_path / 'events' / 'events.db'}")
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE recommendations (recommendation_id VARCHAR PRIMARY KEY, user_id VARCHAR, "
                "session_id VARCHAR, at DOUBLE NOT NULL, release INTEGER NOT NULL, query TEXT NOT NULL, "
                "shown TEXT NOT NULL, earlier INTEGER NOT NULL, propensities TEXT)"
            )
        )
    engine.dispose()
    database = Database(EventsConfig(), Storage(tmp_path))
    answered(database, "r1", "ann", "control", 0)
    assert reported(database, live)["control"].shown == 1
    database.close()
    again = Database(EventsConfig(), Storage(tmp_path))
    assert reported(again, live)["control"].shown == 1
    again.close()

"""Asking a language model about videos: each once, within a budget, whatever the endpoint does."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest

from language_model import ANSWER, USED, Body, LanguageModel, texts_of
from rayreel.enrichment.answers import Answers
from rayreel.enrichment.config import EnrichConfig
from rayreel.enrichment.endpoint import EnrichmentUnavailable
from rayreel.enrichment.enrich import MOST_FAILURES_IN_A_ROW, EnrichmentPlan, EnrichReport, enrich
from rayreel.enrichment.subjects import Subject, read_subjects
from rayreel.features.store import FeatureStore
from rayreel.media.pictures import Pictures, pictures_of

Configure = Callable[..., EnrichConfig]
SECRET = "sk-not-for-logs"


def run(store: FeatureStore, config: EnrichConfig, limit: int | None = None) -> EnrichReport:
    return enrich(plan_of(store, config), config, store.storage, limit=limit)


def plan_of(store: FeatureStore, config: EnrichConfig, subjects: list[Subject] | None = None) -> EnrichmentPlan:
    return EnrichmentPlan.of(subjects or read_subjects(store.storage), config, Answers(store.storage))


def several(count: int) -> list[Subject]:
    return [Subject(f"v{n:02}", "1", f"film {n}", "", (), "", None) for n in range(count)]


def test_every_video_is_asked_about_once(store: FeatureStore, endpoint: LanguageModel, configured: Configure) -> None:
    report = run(store, configured())
    assert (report.videos, report.enriched, report.failed, report.left) == (4, 4, {}, 0)
    assert (report.sent, report.received) == (4 * USED[0], 4 * USED[1])
    assert sorted(endpoint.titles()) == ["film a", "film b", "film c", "film d"]
    assert {answer.summary for _, answer in plan_of(store, configured()).found.values()} == {ANSWER["summary"]}
    again = run(store, configured())
    assert (again.known, again.enriched, again.sent, len(endpoint.asked)) == (4, 0, 0, 4)


def test_another_model_language_text_or_content_is_another_question(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    run(store, configured())
    assert len(plan_of(store, configured(model="other")).todo) == 4
    assert len(plan_of(store, configured(language="German")).todo) == 4
    assert not plan_of(store, configured(concurrency=1, timeout_s=1, price_in=1)).todo
    one = read_subjects(store.storage)[0]
    changed = [
        Subject(*one.pair, "other", "", (), "", one.content_hash),
        Subject(*one.pair, one.title, "", (), "", "x"),
    ]
    assert len(plan_of(store, configured(), changed).todo) == 2


def test_copies_of_a_video_share_an_answer(store: FeatureStore, endpoint: LanguageModel, configured: Configure) -> None:
    copies = [Subject(name, "1", "film", "", (), "", "same") for name in "xyz"]
    report = enrich(plan_of(store, configured(), copies), configured(), store.storage)
    assert (report.enriched, len(endpoint.asked)) == (3, 1)
    assert len(plan_of(store, configured(), copies).found) == 3


def test_a_run_that_was_killed_continues(store: FeatureStore, endpoint: LanguageModel, configured: Configure) -> None:
    class Killed(BaseException):
        """Nothing catches it, like a kill."""

    def progress(done: int, todo: int) -> None:
        if done == 2:
            raise Killed

    config = configured(concurrency=1)
    with pytest.raises(Killed):
        enrich(plan_of(store, config), config, store.storage, progress=progress)
    report = run(store, config)
    assert (report.known, report.enriched, len(endpoint.asked)) == (2, 2, 4)


def test_an_invalid_answer_is_one_failure_and_is_not_kept(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    bad = json.dumps(ANSWER | {"category": "spam"})
    endpoint.respond = lambda body: (200, bad if texts_of(body)["title"] == "film b" else json.dumps(ANSWER))
    report = run(store, configured())
    assert list(report.failed) == ["b"] and "category" in report.failed["b"] and report.enriched == 3
    assert "spam" not in report.failed["b"]  # what an endpoint says is not repeated
    endpoint.respond = lambda _: (200, json.dumps(ANSWER))
    assert run(store, configured()).enriched == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_is_tried_again_after_a_temporary_error(
    status: int, store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    endpoint.respond = lambda _: (status, "later") if len(endpoint.asked) < 3 else (200, json.dumps(ANSWER))
    report = run(store, configured(), limit=1)
    assert (report.enriched, report.failed, len(endpoint.asked)) == (1, {}, 3)


def test_no_answer_in_time_is_a_failure_that_counts_as_what_it_may_have_cost(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    ended = Event()

    def late(_: Body) -> tuple[int, str]:
        ended.wait(60)
        return 200, json.dumps(ANSWER)

    endpoint.respond = late
    report = run(store, configured(timeout_s=0.2, retries=0), limit=1)
    ended.set()
    assert list(report.failed) == ["b"] and "in time" in report.failed["b"] and report.stopped is None
    assert report.received == configured().answer_tokens


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "API key"), (403, "API key"), (404, "enrich.model"), (429, "limits")]
)
def test_an_endpoint_that_refuses_all_requests_stops_the_run(
    status: int, hint: str, store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    endpoint.respond = lambda body: (200, json.dumps(ANSWER)) if texts_of(body)["title"] == "film b" else (status, "no")
    report = run(store, configured(concurrency=1, retries=0))
    assert (report.enriched, report.left, report.sent) == (1, 3, USED[0])
    assert hint in str(report.stopped) and len(endpoint.asked) == 2


def test_an_endpoint_that_is_away_stops_the_run(store: FeatureStore, configured: Configure) -> None:
    report = run(store, configured(url="http://127.0.0.1:9/v1", retries=0))
    assert "cannot be reached" in str(report.stopped) and report.left == 4 and not report.failed


def test_many_failures_in_a_row_stop_the_run(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    endpoint.respond = lambda _: (200, "I am a teapot")
    config = configured(concurrency=1)
    report = enrich(plan_of(store, config, several(30)), config, store.storage)
    assert len(report.failed) == MOST_FAILURES_IN_A_ROW and "failures in a row" in str(report.stopped)
    assert report.left == 30 - MOST_FAILURES_IN_A_ROW


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_run_ends_before_it_exceeds_its_budget(
    concurrency: int, store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    # Each request may use far more than it does: what it does not use is available to the next.
    config = configured(max_cost=2.0, price_in=1000, price_out=10_000, answer_tokens=60, concurrency=concurrency)
    report = enrich(plan_of(store, config, several(30)), config, store.storage)
    assert report.budget_used_up and report.stopped is None
    assert 0.5 < report.cost <= 2.0 and report.enriched + report.left == 30 > report.left > 0
    assert report.cost == pytest.approx(report.enriched * config.cost(*USED))
    tokens = configured(max_tokens=1500, answer_tokens=60)
    report = enrich(plan_of(store, tokens, several(30)), tokens, store.storage)
    assert report.budget_used_up and 0 < report.sent + report.received <= 1500


def test_concurrent_requests_that_use_all_that_was_reserved_stay_within_the_budget(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    config = configured(answer_tokens=60, concurrency=8)
    plan = plan_of(store, config, several(30))
    endpoint.used = plan.estimate(config, Pictures(store.storage), limit=1)
    each = sum(endpoint.used)
    for budget in ({"max_tokens": 3 * each + 1}, {"max_cost": 3.1 * endpoint.used[0] / 1e6, "price_in": 1}):
        config = configured(answer_tokens=60, concurrency=8, **budget)
        report = enrich(plan_of(store, config, several(30)), config, store.storage)
        assert report.budget_used_up and report.sent + report.received == 3 * each


def test_requests_run_at_the_same_time_but_no_more_than_allowed(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    three = Barrier(3)

    def together(_: Body) -> tuple[int, str]:
        three.wait(60)
        return 200, json.dumps(ANSWER)

    endpoint.respond = together
    config = configured(concurrency=3)
    assert enrich(plan_of(store, config, several(9)), config, store.storage).enriched == 9
    assert endpoint.most_running == 3


def test_the_key_is_sent_and_neither_logged_nor_reported(
    store: FeatureStore,
    endpoint: LanguageModel,
    configured: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("OWN_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    run(store, configured(key_env="OWN_KEY"), limit=1)
    (tmp_path / "key").write_text(f"{SECRET}-2\n")
    endpoint.respond = lambda _: (401, "wrong key")
    report = run(store, configured(key_file=tmp_path / "key", concurrency=1))
    assert endpoint.keys == [f"Bearer {SECRET}", f"Bearer {SECRET}-2"]
    assert caplog.text and SECRET not in caplog.text + str(report) + str(configured(key_file=tmp_path / "key"))


def test_the_request_has_the_texts_as_data_a_schema_and_further_fields(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    run(store, configured(request={"temperature": 0, "max_tokens": None}, transcript_characters=4))
    body = next(body for body in endpoint.asked if "transcript" in texts_of(body))
    assert texts_of(body) == {"title": "film a", "transcript": "Look"}
    assert body["response_format"]["json_schema"]["strict"] and body["temperature"] == 0
    assert "max_tokens" not in body and "tools" not in body


def test_pictures_are_sent_if_the_settings_say_so(
    store: FeatureStore, endpoint: LanguageModel, configured: Configure
) -> None:
    made = pictures_of(np.zeros((4, 32, 32, 3), np.uint8), "jpeg")
    poster, sheet = made.values()
    pictures, one = Pictures(store.storage), Subject("p", "1", "", "", (), "", "ab12")
    store.storage.write(
        store.storage.path("pictures", "ab", "ab12.pictures"), len(poster).to_bytes(4, "big") + poster + sheet
    )
    assert plan_of(store, configured(), [one]).nothing_known == 1
    config = configured(pictures=True)
    assert plan_of(store, config, [one]).estimate(config, pictures)[0] > 1500
    assert enrich(plan_of(store, config, [one]), config, store.storage).enriched == 1
    assert endpoint.asked[0]["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_what_is_missing_is_named(store: FeatureStore, tmp_path: Path) -> None:
    for config, missing in (
        (EnrichConfig(url="http://127.0.0.1:9/v1"), r"enrich\.model"),
        (EnrichConfig(model="m"), r"enrich\.url"),
        (EnrichConfig(url="http://127.0.0.1:9/v1", model="m", key_file=tmp_path / "none"), "key_file"),
    ):
        with pytest.raises(EnrichmentUnavailable, match=missing):
            run(store, config)


def test_a_cost_without_prices_is_refused() -> None:
    with pytest.raises(ValueError, match="price_in"):
        EnrichConfig(max_cost=1)

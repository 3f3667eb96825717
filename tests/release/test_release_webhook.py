"""Deliveries signed like by MLflow."""

import json
import time

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from rayreel.release.webhook import BadDelivery, Deliveries, NoWebhook, register_webhook

SECRET = "a secret of the test's own"
MOVED = {"name": "rayreel-tower", "alias": "champion", "version": "3"}


def delivery(
    data: object, secret: str = SECRET, entity: str = "model_version_alias", sent: float | None = None
) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"entity": entity, "action": "created", "data": data})
    when = str(int(time.time() if sent is None else sent))
    signature = _generate_hmac_signature(secret, "delivery-1", when, body)
    headers = {"x-mlflow-delivery-id": "delivery-1", "x-mlflow-timestamp": when, "x-mlflow-signature": signature}
    return headers, body.encode()


@pytest.mark.parametrize(
    ("data", "entity", "moves"),
    [
        (MOVED, "model_version_alias", True),
        ({"name": "rayreel-tower", "alias": "champion"}, "model_version_alias", True),
        (MOVED | {"alias": "challenger"}, "model_version_alias", False),
        (MOVED | {"name": "another"}, "model_version_alias", False),
        (MOVED, "prompt_alias", False),
        ({}, "model_version_alias", False),
        ("nothing", "model_version_alias", False),
    ],
)
def test_only_deliveries_about_the_towers_champion_report_a_move(data: object, entity: str, moves: bool) -> None:
    assert Deliveries(SECRET).moves_champion(*delivery(data, entity=entity)) is moves


def test_deliveries_without_a_valid_signature_are_refused() -> None:
    headers, body = delivery(MOVED)
    for secret, changed, content in [
        ("another", headers, body),
        (SECRET, headers, body.replace(b"champion", b"champiom")),
        (SECRET, headers | {"x-mlflow-timestamp": "1"}, body),
        (SECRET, headers | {"x-mlflow-delivery-id": "2"}, body),
        (SECRET, headers | {"x-mlflow-signature": "ü"}, body),
        (SECRET, {}, body),
        (SECRET, headers, b"\xff"),
    ]:
        with pytest.raises(BadDelivery, match="signature"):
            Deliveries(secret).moves_champion(changed, content)


def test_without_a_secret_every_delivery_is_refused() -> None:
    with pytest.raises(BadDelivery, match="signature"):
        Deliveries("").moves_champion(*delivery(MOVED, secret=""))


def test_old_and_repeated_deliveries_are_refused() -> None:
    with pytest.raises(BadDelivery, match="older"):
        Deliveries(SECRET).moves_champion(*delivery(MOVED, sent=time.time() - 3600))
    deliveries = Deliveries(SECRET)
    assert deliveries.moves_champion(*delivery(MOVED))
    with pytest.raises(BadDelivery, match="accepted before"):
        deliveries.moves_champion(*delivery(MOVED))


def test_no_webhook_is_registered_without_a_secret() -> None:
    with pytest.raises(NoWebhook, match="RAYREEL_RELEASE__WEBHOOK_SECRET"):
        register_webhook("https://example.org/v1/mlflow/webhook", "")

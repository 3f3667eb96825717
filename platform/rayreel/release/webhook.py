"""MLflow's webhooks: the server notifies the service when an alias moves. A delivery only triggers an early poll.

Format and signature: https://mlflow.org/docs/latest/ml/webhooks. MLflow's server requires a public https address,
unless its MLFLOW_WEBHOOK_* settings allow others.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import mlflow
from mlflow.entities.webhook import Webhook, WebhookAction, WebhookEntity, WebhookEvent, WebhookTestResult
from mlflow.exceptions import MlflowException
from mlflow.webhooks.constants import (
    WEBHOOK_DELIVERY_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_SIGNATURE_VERSION,
    WEBHOOK_TIMESTAMP_HEADER,
)

from rayreel.errors import RayreelError
from rayreel.redact import redacted
from rayreel.release.registry import CHAMPION, MODEL

NAME = "rayreel-champion"
# Maximum age of a delivery, in seconds. Within it, each delivery id is accepted once.
VALID_S = 300.0
_EVENTS = [
    WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, action) for action in (WebhookAction.CREATED, WebhookAction.DELETED)
]


class BadDelivery(RayreelError):
    """A webhook request is not signed by MLflow, too old or repeated."""


class NoWebhook(RayreelError):
    """The webhook could not be registered."""


class Deliveries:
    """Verifies deliveries of MLflow's webhook. Safe to share between threads and tasks."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._accepted: dict[str, float] = {}

    def moves_champion(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Verify a delivery and return whether it reports that the champion was set or deleted.

        Names of `headers` are in lower case. Raises BadDelivery if the signature is missing or wrong, or the delivery
        is older than VALID_S or was accepted before.
        """
        delivery, sent = (
            headers.get(name.lower(), "") for name in (WEBHOOK_DELIVERY_ID_HEADER, WEBHOOK_TIMESTAMP_HEADER)
        )
        signed = hmac.new(self._secret, f"{delivery}.{sent}.".encode() + body, hashlib.sha256).digest()
        wanted = f"{WEBHOOK_SIGNATURE_VERSION},{base64.b64encode(signed).decode()}"
        given = headers.get(WEBHOOK_SIGNATURE_HEADER.lower(), "")
        if not self._secret or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
            raise BadDelivery(
                "The signature is missing or wrong. Register the webhook with the secret in release.webhook_secret."
            )
        self._accept(delivery, sent)
        return _moves_champion(body)

    def _accept(self, delivery: str, sent: str) -> None:
        now = time.time()
        if not sent.isdigit() or abs(now - int(sent)) > VALID_S:
            raise BadDelivery(f"The delivery is older than {VALID_S:g} s, or the clocks of the two servers differ.")
        self._accepted = {known: at for known, at in self._accepted.items() if now - at <= 2 * VALID_S}
        if self._accepted.setdefault(delivery, now) != now:
            raise BadDelivery("This delivery was accepted before.")


def register_webhook(url: str, secret: str) -> WebhookTestResult:
    """Register or update the webhook to `url` on MLflow's server, and send a test delivery. Raises NoWebhook."""
    if not secret:
        raise NoWebhook("A webhook needs a secret. Set RAYREEL_RELEASE__WEBHOOK_SECRET here and for the service.")
    client = mlflow.MlflowClient()
    try:
        known = _known(client)
        if known is None:
            known = client.create_webhook(NAME, url, _EVENTS, secret=secret)
        else:
            known = client.update_webhook(known.webhook_id, url=url, events=_EVENTS, secret=secret)
        return client.test_webhook(known.webhook_id)
    except MlflowException as error:
        raise NoWebhook(
            f"MLflow at {redacted(mlflow.get_tracking_uri())} refused the webhook: {error.message}. Webhooks need an "
            "MLflow server with MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY set. Without one, the champion is polled every "
            "release.follow_every_s seconds."
        ) from error


def _known(client: mlflow.MlflowClient) -> Webhook | None:
    token: str | None = None
    while True:
        page = client.list_webhooks(page_token=token)
        for webhook in page:
            if webhook.name == NAME:
                return webhook
        token = page.token
        if not token:
            return None


def _moves_champion(body: bytes) -> bool:
    try:
        event = json.loads(body)
        moved = event["data"]["name"], event["data"]["alias"]
    except (ValueError, TypeError, KeyError):
        return False
    return bool(event.get("entity") == WebhookEntity.MODEL_VERSION_ALIAS.value and moved == (MODEL, CHAMPION))

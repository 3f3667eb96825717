"""MLflow's webhooks: the server says at once that an alias was moved. They only ever cause a look; polling stays.

What MLflow sends and how it signs: https://mlflow.org/docs/latest/ml/webhooks. Its server needs an https address that
is not private, unless its own MLFLOW_WEBHOOK settings allow others.
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
from rayreel.release.registry import CHAMPION, MODEL

NAME = "rayreel-champion"
# Older deliveries are refused, and for so long each is taken once.
VALID_S = 300.0
_EVENTS = [
    WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, action) for action in (WebhookAction.CREATED, WebhookAction.DELETED)
]


class BadDelivery(RayreelError):
    """A request that MLflow did not send, or not just now."""


class NoWebhook(RayreelError):
    """The webhook could not be registered."""


class Deliveries:
    """Verifies what arrives as MLflow's webhook. Threads and tasks may share it."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._taken: dict[str, float] = {}

    def moves_champion(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a delivery says that the champion was set or deleted.

        `headers` by their lower-case names. Raises BadDelivery for a wrong or missing signature, one that is older than
        VALID_S, and one that was taken before.
        """
        delivery, sent = (
            headers.get(name.lower(), "") for name in (WEBHOOK_DELIVERY_ID_HEADER, WEBHOOK_TIMESTAMP_HEADER)
        )
        signed = hmac.new(self._secret, f"{delivery}.{sent}.".encode() + body, hashlib.sha256).digest()
        wanted = f"{WEBHOOK_SIGNATURE_VERSION},{base64.b64encode(signed).decode()}"
        given = headers.get(WEBHOOK_SIGNATURE_HEADER.lower(), "")
        if not self._secret or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
            raise BadDelivery(
                "The signature is missing or wrong. Give MLflow's webhook the secret release.webhook_secret."
            )
        self._take(delivery, sent)
        return _moves_champion(body)

    def _take(self, delivery: str, sent: str) -> None:
        now = time.time()
        if not sent.isdigit() or abs(now - int(sent)) > VALID_S:
            raise BadDelivery(f"The delivery is older than {VALID_S:g} s, or the clocks of the two machines differ.")
        self._taken = {known: at for known, at in self._taken.items() if now - at <= 2 * VALID_S}
        if self._taken.setdefault(delivery, now) != now:
            raise BadDelivery("This delivery was taken before.")


def register_webhook(url: str, secret: str) -> WebhookTestResult:
    """Let the MLflow server tell `url` of moved aliases, signed with `secret`, and let it try. Raises NoWebhook."""
    if not secret:
        raise NoWebhook("A webhook needs a secret: set RAYREEL_RELEASE__WEBHOOK_SECRET, for the service as well.")
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
            f"MLflow at {mlflow.get_tracking_uri()} does not take the webhook: {error.message}. It has to be a server, "
            "which needs MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY; without webhooks the champion is looked at every "
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
        told = json.loads(body)
        moved = told["data"]["name"], told["data"]["alias"]
    except (ValueError, TypeError, KeyError):
        return False
    return bool(told.get("entity") == WebhookEntity.MODEL_VERSION_ALIAS.value and moved == (MODEL, CHAMPION))

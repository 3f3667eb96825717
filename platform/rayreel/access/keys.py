"""API keys, of which only hashes are stored."""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable
from enum import IntEnum

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_serializer, field_validator

from rayreel.errors import RayreelError

KEY_ID = "[a-z0-9]{12}"
_FORM = re.compile(rf"rr_({KEY_ID})_([A-Za-z0-9_-]{{43}})")


class BadKeys(RayreelError):
    """The key file cannot be read, or the key is not in it."""


class Scope(IntEnum):
    """What a key allows; each scope includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


class Key(BaseModel):
    """A stored key: the hash of the secret, not the secret itself. Times in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=rf"^{KEY_ID}$")
    name: str
    scope: Scope
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: float
    expires_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Return whether the key has not expired; revoked keys have an expiry in the past."""
        return self.expires_at is None or now < self.expires_at

    @field_validator("scope", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return Scope[value.upper()] if isinstance(value, str) and value.upper() in Scope.__members__ else value

    @field_serializer("scope")
    def _as_name(self, scope: Scope) -> str:
        return scope.name.lower()


_KEYS = TypeAdapter(list[Key])


def new_key(name: str, scope: Scope, expires_at: float | None = None) -> tuple[str, Key]:
    """Create a key and return its text, which cannot be recovered later, and the key to store.

    >>> text, key = new_key("phone app", Scope.READ)
    >>> text == f"rr_{key.id}_{text[16:]}", text[16:] in key.model_dump_json()
    (True, False)
    """
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = Key(id=key_id, name=name, scope=scope, digest=_digest(secret), created_at=time.time(), expires_at=expires_at)
    return f"rr_{key_id}_{secret}", key


def _digest(secret: str) -> str:
    # 256 random bits cannot be guessed, so a slow password hash would only slow down every request.
    return hashlib.blake2b(secret.encode(), digest_size=32).hexdigest()


_UNKNOWN_KEY = _digest("")


class Keyring:
    """A set of keys to authenticate requests with.

    >>> text, key = new_key("phone app", Scope.READ, expires_at=1000.0)
    >>> ring = Keyring([key])
    >>> ring.check(text, now=999.0) is key, ring.check(text, now=1000.0), ring.check("rr_guess", now=999.0)
    (True, None, None)
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def check(self, text: str, now: float) -> Key | None:
        """Return the key with this text if it is valid, else None. Takes the same time for unknown and wrong keys."""
        parts = _FORM.fullmatch(text)
        if parts is None:
            return None
        key = self._keys.get(parts[1])
        matches = hmac.compare_digest(_digest(parts[2]), key.digest if key else _UNKNOWN_KEY)
        return key if key is not None and matches and key.is_valid(now) else None


def read_keys(content: bytes | None) -> list[Key]:
    """Parse the content of a key file; None (no file) gives no keys. Raises BadKeys if it is invalid or empty."""
    try:
        return [] if content is None else _KEYS.validate_json(content)
    except ValidationError as error:
        raise BadKeys(
            f"The file of API keys is damaged ({error.error_count()} errors). Restore it, or delete it and add keys."
        ) from None


def dump_keys(keys: list[Key]) -> bytes:
    """Return the content of a key file."""
    return json.dumps(_KEYS.dump_python(keys, mode="json"), indent=1).encode()

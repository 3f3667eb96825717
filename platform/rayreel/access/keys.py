"""API keys: made once, shown once, kept as hashes."""

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
    """The file of keys cannot be read, or does not hold the key that is named."""


class Scope(IntEnum):
    """What a key allows; each includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


class Key(BaseModel):
    """What is kept of a key: never the secret. Times in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=rf"^{KEY_ID}$")
    name: str
    scope: Scope
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: float
    expires_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Whether the key counts at this moment; a revoked key is one that has expired."""
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
    """Make a key: the text to hand over, which nobody can read again, and what is kept."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    kept = Key(id=key_id, name=name, scope=scope, digest=_digest(secret), created_at=time.time(), expires_at=expires_at)
    return f"rr_{key_id}_{secret}", kept


def _digest(secret: str) -> str:
    # 256 random bits cannot be guessed: a slow password hash would guard nothing and cost every request.
    return hashlib.blake2b(secret.encode(), digest_size=32).hexdigest()


_NOBODY = _digest("")


class Keyring:
    """A set of keys that texts are checked against."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def check(self, text: str, now: float) -> Key | None:
        """The key that a text is, or None. Unknown and wrong ones take the same time."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        key = self._keys.get(form[1])
        right = hmac.compare_digest(_digest(form[2]), key.digest if key else _NOBODY)
        return key if key is not None and right and key.is_valid(now) else None


def read_keys(content: bytes | None) -> list[Key]:
    """Keys of a file's content; no file holds no keys, an empty one is damaged. Raises BadKeys."""
    try:
        return [] if content is None else _KEYS.validate_json(content)
    except ValidationError as error:
        raise BadKeys(
            f"The file of API keys is damaged ({error.error_count()} faults). Restore it, or delete it and make keys."
        ) from None


def written(keys: list[Key]) -> bytes:
    """The content of a file of keys."""
    return json.dumps(_KEYS.dump_python(keys, mode="json"), indent=1).encode()

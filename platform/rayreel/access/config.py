"""How the service listens, whom it lets in and how much it takes."""

from ipaddress import ip_address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """The border of the HTTP service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all, which needs keys.")
    keys_file: str | None = Field(None, description="Where API keys are kept. Unset: access/keys.json in the storage.")
    require_keys: bool | Literal["auto"] = Field("auto", description="auto: unless only this machine can connect.")
    rate_per_s: float = Field(100.0, gt=0, description="Requests per second of one key, at each replica.")
    burst: int = Field(200, ge=1, description="Requests a key may send at once after a pause, at each replica.")
    max_body_bytes: int = Field(64 << 20, gt=0, description="Largest upload, bytes.")
    max_uploads_bytes: int = Field(
        512 << 20, gt=0, description="Uploads that one replica works on at once, bytes; what is more gets 429."
    )
    max_json_bytes: int = Field(2 << 20, gt=0, description="Largest body that is no upload, bytes.")
    max_queued_jobs: int = Field(
        16, ge=0, description="Catalogs that wait while one is being added; what is more gets 429."
    )
    timeout_s: float = Field(30.0, gt=0, description="Longest a request may take, seconds; clients may ask for less.")
    refresh_s: float = Field(1.0, gt=0, description="How often replicas look for changes of release and keys, seconds.")
    cors_origins: tuple[str, ...] = Field((), description="Web origins that may call the API, such as https://a.org.")

    def needs_keys(self, host: str | None) -> bool:
        """Whether requests need a key when the service listens on `host`; an unknown address counts as open to all."""
        if self.require_keys == "auto":
            return host is None or not is_loopback(host)
        return self.require_keys


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

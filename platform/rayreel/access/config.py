"""Settings of the HTTP service: address, access and limits."""

from ipaddress import ip_address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """Address, access and limits of the HTTP service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all interfaces, which requires keys.")
    keys_file: str | None = Field(None, description="File of API keys. Unset: access/keys.json in the storage.")
    require_keys: bool | Literal["auto"] = Field("auto", description="auto: only if other machines can connect.")
    rate_per_s: float = Field(100.0, gt=0, description="Requests per second and key, on each replica.")
    burst: int = Field(200, ge=1, description="Requests a key may send at once after a pause, on each replica.")
    max_body_bytes: int = Field(64 << 20, gt=0, description="Largest upload, bytes.")
    max_uploads_bytes: int = Field(
        512 << 20, gt=0, description="Uploads a replica processes at once, bytes in total; more are rejected with 429."
    )
    max_json_bytes: int = Field(2 << 20, gt=0, description="Largest request body other than uploads, bytes.")
    max_queued_jobs: int = Field(
        16, ge=0, description="Catalogs in the queue while one is being added; more are rejected with 429."
    )
    timeout_s: float = Field(30.0, gt=0, description="Maximum time for a request, seconds; clients may request less.")
    refresh_s: float = Field(
        1.0, gt=0, description="Interval at which replicas check for changes of release and keys, seconds."
    )
    cors_origins: tuple[str, ...] = Field((), description="Web origins that may call the API, such as https://a.org.")

    def needs_keys(self, host: str | None) -> bool:
        """Return whether requests need a key if the service listens on `host`; None is treated as a public address."""
        if self.require_keys == "auto":
            return host is None or not is_loopback(host)
        return self.require_keys


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached only from this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

"""Settings of the HTTP service: address, access, limits, threads and waiting times."""

import math
import os
from ipaddress import ip_address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """Address, access, limits, threads and waiting times of the HTTP service."""

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
    grafana_url: str | None = Field(None, description="Address of Grafana, which the page at /status links to.")
    originals: bool = Field(
        True, description="Let the web page and clients with a read key play the original videos of the index."
    )
    cache_bytes: int = Field(
        64 << 20, ge=0, description="Responses to repeated queries that a replica keeps in memory, bytes in total."
    )
    beside_releases: int = Field(
        2,
        ge=0,
        description="Releases besides the serving one that a replica loads because requests name them; 0: none. Those "
        "of an experiment's arms come on top. Each takes memory for the metadata of its videos, and for its tower in "
        "the encoders, whose own networks are loaded as well if they differ.",
    )
    search_threads: int = Field(8, ge=1, description="Searches that a replica runs at once.")
    queued_searches: int = Field(128, ge=0, description="Searches that wait for them; more are rejected with 429.")
    write_threads: int = Field(4, ge=1, description="Additions and deletions that a replica writes at once.")
    queued_writes: int = Field(32, ge=0, description="Writes that wait for them; more are rejected with 429.")
    decoders: int = Field(
        0, ge=0, description="Videos that a replica decodes at once; 0: one per two cores of its machine, at most 4."
    )
    download_threads: int = Field(
        8,
        ge=1,
        description="Videos that a replica downloads at once. Downloads take up to half of encode's "
        "max_ongoing_requests in config.yaml; more are rejected with 429.",
    )
    index_wait_s: float = Field(
        5.0, ge=0, description="How long a request waits for an index that does not answer, seconds; then 503."
    )
    start_wait_s: float = Field(
        60.0, ge=0, description="How long a new replica waits for a release or the index, seconds; then it starts."
    )
    tower_wait_s: float = Field(
        60.0, gt=0, description="How long a switch of releases waits until the encoders have the new tower, seconds."
    )
    deploy_wait_s: float = Field(
        300.0, gt=0, description="How long `rayreel serve` waits until the service is ready, seconds."
    )
    gpus_per_encoder: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of a GPU for a replica of encode with `rayreel serve`; up to 0.5, a new one can start "
        "beside the old one.",
    )

    @property
    def decoding_processes(self) -> int:
        """How many videos a replica on this machine decodes at once. More would only compete for cores."""
        return self.decoders or max(1, min(4, (os.cpu_count() or 1) // 2))

    @property
    def shutdown_s(self) -> int:
        """How long a stopping replica finishes its requests, seconds: longer than any request may take."""
        return math.ceil(self.timeout_s) + 10

    @property
    def proxy_timeout_s(self) -> int:
        """Time limit of the proxy, seconds: long enough that the service reports an exceeded deadline itself."""
        return math.ceil(self.timeout_s) + 60

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

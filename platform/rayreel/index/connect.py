"""Connect to the index: a Milvus server or the embedded Milvus Lite."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import ConnectionConfigException
from tenacity import Retrying, retry_if_exception_type, retry_if_not_exception_type, stop_after_delay, wait_fixed

from rayreel.index.config import IndexConfig, IndexUnavailable, resolve
from rayreel.index.embedded import embedded_address
from rayreel.redact import redacted

__all__ = ["MilvusClient", "connect"]

ATTEMPT_S = 5.0


def connect(config: IndexConfig, data_dir: Path | None) -> MilvusClient:
    """Connect to the configured Milvus server, or to the Milvus Lite that owns `data_dir`; wait until it answers.

    Raises:
        IndexUnavailable: nothing answered within `config.timeout_s`, or Milvus Lite cannot start.
    """
    config = resolve(config)
    uri = config.uri or _embedded(data_dir)
    attempts = Retrying(
        retry=retry_if_exception_type(MilvusException) & retry_if_not_exception_type(ConnectionConfigException),
        stop=stop_after_delay(config.timeout_s),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    attempt_s = min(ATTEMPT_S, config.timeout_s)
    try:
        return attempts(
            MilvusClient, uri=uri, token=config.token.get_secret_value(), timeout=attempt_s, **_tls(config, uri)
        )
    except MilvusException as error:
        raise IndexUnavailable(
            f"Milvus at {redacted(uri)}: {error.message}. Start the server, or correct MILVUS_URI and MILVUS_TOKEN; "
            "without MILVUS_URI the embedded Milvus Lite is used."
        ) from error


def _embedded(data_dir: Path | None) -> str:
    if data_dir is None:
        raise IndexUnavailable("Milvus Lite needs a storage root in a local folder. Set MILVUS_URI to a Milvus server.")
    return embedded_address(data_dir)


def _tls(config: IndexConfig, uri: str) -> dict[str, Any]:
    """How to verify the server. pymilvus enables TLS by the https:// of the address, not by these."""
    if urlsplit(uri).scheme != "https":
        return {}
    options = {
        "server_pem_path": str(config.tls_ca_cert) if config.tls_ca_cert else "",
        "server_name": config.tls_server_name,
    }
    return {key: value for key, value in options.items() if value}

"""Configuration of the Milvus index."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rayreel.errors import RayreelError

# Languages of a search by words.
Language = Literal[
    "danish",
    "dutch",
    "english",
    "french",
    "german",
    "italian",
    "norwegian",
    "portuguese",
    "russian",
    "spanish",
    "swedish",
    "turkish",
    "none",
]


class IndexUnavailable(RayreelError):
    """Milvus cannot be reached."""


class CollectionGone(RayreelError):
    """The release's collection was dropped."""


class IndexConfig(BaseModel):
    """Address, HNSW parameters and limits of the Milvus index. HNSW: Malkov and Yashunin 2016."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field("", description="Address of Milvus, http(s)://host:port. Empty: MILVUS_URI, else Milvus Lite.")
    token: SecretStr = Field(SecretStr(""), description="user:password or API key. Empty: MILVUS_TOKEN.")
    tls_ca_cert: Path | None = Field(
        None, description="PEM file of the CA that signed the certificate of an https server. Empty: the public CAs."
    )
    tls_server_name: str = Field("", description="Name in that certificate, if it differs from the address.")
    alias: str = Field("videos", pattern=r"^[A-Za-z_]\w*$", description="Alias of the serving release.")
    hnsw_m: int = Field(16, ge=2, le=2048, description="HNSW: links per node.")
    ef_construction: int = Field(200, gt=0, description="HNSW: candidates kept while building.")
    ef_search: int = Field(64, gt=0, description="HNSW: candidates kept while searching; more raise recall and cost.")
    filtered_ef: int = Field(
        4,
        ge=1,
        le=64,
        description="HNSW: factor of ef_search in a search with a filter, because excluded rows are visited too.",
    )
    exact_rows: int = Field(
        2000,
        ge=1,
        le=16_383,
        description="If a search with a filter finds too few rows, up to this many that pass are compared one by one.",
    )
    batch_rows: int = Field(500, gt=0, le=10_000, description="Rows per upsert. 500 rows of 512 floats are 1 MB.")
    timeout_s: float = Field(15.0, gt=0, description="Timeout of a connection, a search or a lookup, in seconds.")
    build_timeout_s: float = Field(3600.0, gt=0, description="Timeout of one step of a build, in seconds.")
    restart_s: float = Field(120.0, gt=0, description="How long writes wait for Milvus to restart, in seconds.")


def resolve(config: IndexConfig, environ: Mapping[str, str] = os.environ) -> IndexConfig:
    """Fill an empty `uri` and `token` from MILVUS_URI and MILVUS_TOKEN. Configured values take precedence."""
    uri = config.uri or environ.get("MILVUS_URI", "")
    token = config.token if config.token.get_secret_value() else SecretStr(environ.get("MILVUS_TOKEN", ""))
    return config.model_copy(update={"uri": uri, "token": token})

"""Limits on reading local files and URLs."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ReadLimits(BaseModel):
    """Which files and addresses catalogs and videos may be read from, and how large catalogs may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed_roots: tuple[Path, ...] = Field((), description="folders that local files must be in; empty: anywhere")
    allowed_hosts: tuple[str, ...] = Field(
        ("*",),
        description="hosts of https:// and buckets of s3:// and gs:// to read from: names, *.example.com, or * for all "
        "hosts with public addresses. A host listed by name may have a private address. API clients can only read "
        "buckets listed by name",
    )
    from_outside: bool = Field(
        False,
        description="addresses come from API clients: no local files outside allowed_roots, no buckets that are not "
        "listed by name, nothing below the storage root",
    )
    state: str | None = Field(None, description="where the service stores its state. Unset: the storage root")
    max_catalog_bytes: int = Field(1 << 30, gt=0, description="largest catalog file, bytes")
    max_catalog_line_bytes: int = Field(4 << 20, gt=0, description="longest line of a catalog, bytes")
    download_timeout_s: float = Field(900.0, gt=0, description="wall time for copying one remote file, seconds")
    max_catalog_rows: int = Field(1_000_000, gt=0, description="maximum number of rows of a catalog")

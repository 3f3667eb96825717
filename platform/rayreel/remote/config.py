"""What may be read, and how much of a catalog."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ReadLimits(BaseModel):
    """The border of reading, for catalogs and for videos."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed_roots: tuple[Path, ...] = Field((), description="folders that local files must lie in; none: anywhere")
    allowed_hosts: tuple[str, ...] = Field(
        ("*",),
        description="hosts of https:// and buckets of s3:// and gs:// to read from: names, *.example.com, or * for all "
        "hosts with public addresses; a host that is named may have a private one; callers of the service reach only "
        "buckets that are named",
    )
    from_outside: bool = Field(
        False,
        description="addresses come from callers of the service: no local file outside allowed_roots, no bucket that "
        "is not named, nothing below the storage root",
    )
    state: str | None = Field(None, description="where the service keeps its state. Unset: the storage root")
    max_catalog_bytes: int = Field(1 << 30, gt=0, description="largest catalog file, bytes")
    max_catalog_line_bytes: int = Field(4 << 20, gt=0, description="longest line of a catalog, bytes")
    max_catalog_rows: int = Field(1_000_000, gt=0, description="most rows of a catalog")

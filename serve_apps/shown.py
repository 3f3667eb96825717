"""Videos of the release as the API shows them."""

from urllib.parse import quote

from rayreel.catalog.source import is_remote
from rayreel.client.messages import Video
from rayreel.redact import public_address
from rayreel.release.rows import VideoRow


def links(video_id: str, content_hash: str | None, *, has_video: bool) -> dict[str, str | None]:
    """Return the addresses of a video's pictures and its original. They change with its content."""
    base = f"/v1/videos/{quote(video_id, safe='')}"
    version = f"?v={content_hash[:12]}" if content_hash else ""
    known = bool(content_hash)
    return {
        "poster_url": f"{base}/poster{version}" if known else None,
        "sheet_url": f"{base}/sheet{version}" if known else None,
        "media_url": f"{base}/media{version}" if has_video else None,
    }


def video_of(row: VideoRow) -> Video:
    """Return a video of the release, without local paths and secrets in its address."""
    return Video(
        video_id=row.video_id,
        title=row.title or "",
        description=row.description or "",
        category=row.category or "",
        tags=list(row.tags),
        metadata=row.extra,
        uri=public_address(row.uri) if is_remote(row.uri) else None,
        created_at=row.created_at,
        duration_s=row.duration_s,
        has_video=row.has_video,
        summary=row.summary,
        topics=list(row.topics),
        rewritten_title=row.rewritten_title,
        **links(row.video_id, row.content_hash, has_video=row.has_video),
    )

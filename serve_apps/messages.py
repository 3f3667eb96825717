"""What the HTTP API takes and gives."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rayreel.index.search import Hit

TopK = Annotated[int, Field(ge=1, le=200, description="How many videos.")]


class RecommendRequest(BaseModel):
    """Exactly one query: a video of the index, or words."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"video_id": "ocean_waves_001", "top_k": 5}, {"text": "waves at the beach"}]},
    )

    video_id: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)] | None = None
    top_k: TopK = 10

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if (self.video_id is None) == (self.text is None):
            raise ValueError("give exactly one of video_id and text")
        return self


class Result(BaseModel):
    """One recommended video; score is the cosine of its embedding and the query's."""

    video_id: str
    score: float
    title: str
    category: str

    @staticmethod
    def of(hit: Hit) -> "Result":
        """As the index found it."""
        return Result(video_id=hit.video_id, score=round(hit.score, 6), title=hit.title, category=hit.category)


class Recommendations(BaseModel):
    """Best first; all from one release."""

    release: int
    results: list[Result]


class Ready(BaseModel):
    """What serves."""

    release: int
    index_size: int
    device: str
    encoders: dict[str, str]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None

"""What the HTTP API takes and gives.

Numbers and truth values are strict: "5" is no number. An explicit null means the same as leaving the field out. Every
rule that JSON Schema can state stands in the schema too, so that generated clients and tests know it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"\S")]
VideoId = Annotated[str, StringConstraints(min_length=1, max_length=512)]
NewId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512, pattern=r"\S")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"\S")]
Tags = Annotated[list[Tag], Field(max_length=64)]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
MetadataValue = (
    Annotated[str, StringConstraints(max_length=2000)]
    | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | Annotated[bool, Field(strict=True)]
    | None
)
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=64)]
TopK = Annotated[int, Field(ge=1, le=200, description="How many videos.")]  # forms and URLs know only text
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
EpochSeconds = Annotated[float, Field(ge=0, le=1e11, strict=True)]
# What is smaller is rounding: a vector of such numbers has no direction.
SMALLEST = 1e-6
Number = Annotated[float, Field(ge=-1e6, le=1e6, strict=True)]
_FILTER: dict[str, JsonValue] = {"and": [{"category": {"in": ["ocean", "sky"]}}, {"duration_s": {"gte": 3, "lt": 60}}]}
_DIRECTION: dict[str, JsonValue] = {
    "contains": {"anyOf": [{"type": "number", "minimum": SMALLEST}, {"type": "number", "maximum": -SMALLEST}]}
}


def _given(*fields: str) -> list[JsonValue]:
    """JSON Schemas: each says that one field is there and is not null."""
    return [{"required": [field], "properties": {field: {"not": {"type": "null"}}}} for field in fields]


def _a_number(value: object) -> object:
    """JSON Schema counts 5.0 among the integers, but neither "5" nor true."""
    if isinstance(value, (str, bool)):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


class _Asked(BaseModel):
    """A message to the service: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class Weights(_Asked):
    """How much of each modality the query is made of; one left out counts as 0. S4's mixture: visual 0.7, text 0.3."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"visual": 0.7, "text": 0.3}],
            "anyOf": [
                {"required": [name], "properties": {name: {"exclusiveMinimum": 0}}}
                for name in ("visual", "audio", "text")
            ],
        }
    )

    visual: Share = 0.0
    audio: Share = 0.0
    text: Share = 0.0

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.visual or self.audio or self.text):
            raise ValueError("give at least one modality a weight above 0")
        return self


class Watched(_Asked):
    """A video of a user's history."""

    video_id: VideoId
    weight: Annotated[float, Field(gt=0, le=1000, strict=True, description="How much it counts.")] = 1.0
    timestamp: EpochSeconds | None = Field(None, description="When, in seconds since 1970; older ones count less.")


class User(_Asked):
    """A user by what they watched, or, when new, by the categories they like."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"history": ["ocean_001", {"video_id": "sky_004", "weight": 2, "timestamp": 1790000000}]}],
            "anyOf": [
                {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("history", "liked_categories")
            ],
        }
    )

    history: list[VideoId | Watched] = Field(default_factory=list, max_length=1000, description="In any order.")
    liked_categories: list[Category] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.history or self.liked_categories):
            raise ValueError("give history or liked_categories")
        return self

    def watched(self) -> list[Watched]:
        """The history, plain ids as entries of weight 1."""
        return [Watched(video_id=entry) if isinstance(entry, str) else entry for entry in self.history]


class RecommendOptions(_Asked):
    """How results are chosen, whatever the query."""

    top_k: Annotated[TopK, BeforeValidator(_a_number)] = 10
    filter: dict[str, Any] | None = Field(
        None,
        description="What results must be: {category: x}, {category: {in: [x, y]}}, {tags: {any | all: [x, y]}}, "
        "{video_id: {in: [x]}}, {created_at | duration_s | extra.KEY: {gte | gt | lte | lt: number}}, "
        "{extra.KEY: text | {in: [x]}}, {and | or: [..]}, {not: {..}}; several keys in one object mean and.",
        examples=[_FILTER],
    )
    weights: Weights | None = Field(None, description="Mix the query's modalities anew; needs video_id or user.")
    exclude: list[VideoId] = Field(default_factory=list, max_length=1000, description="Ids never to return.")
    diversity: Share = Field(0.0, description="0: the most similar. Towards 1: less like each other (MMR).")
    cross_category: Flag = Field(False, description="Only videos of other categories than the query's.")
    serendipity: Share = Field(0.0, description="Share of the results that come from other categories.")
    hybrid: Flag = Field(False, description="Join the embedding's ranking with BM25's on the words; needs text.")
    explain: Flag = Field(False, description="Say which modality and which stage gave each score.")


class RecommendRequest(RecommendOptions):
    """Exactly one query: a video of the index, words, an embedding of the serving release, or a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"video_id": "ocean_waves_001", "top_k": 5},
                {"text": "waves at the beach", "hybrid": True, "filter": {"category": "ocean"}},
                {"user": {"history": ["ocean_waves_001", "sky_004"]}, "diversity": 0.3, "explain": True},
                {"user": {"liked_categories": ["ocean"]}, "serendipity": 0.2},
                {"video_id": "ocean_waves_001", "weights": {"visual": 0.7, "text": 0.3}, "filter": _FILTER},
            ],
            "oneOf": _given("video_id", "text", "embedding", "user"),
            "allOf": [
                {"anyOf": [{"properties": {"hybrid": {"const": False}}}, *_given("text")]},
                {"anyOf": [{"properties": {"weights": {"type": "null"}}}, *_given("video_id", "user")]},
            ],
        }
    )

    video_id: VideoId | None = Field(None, description="Videos like this one, never itself.")
    text: Words | None = Field(None, description="Videos for a query in words.")
    embedding: Annotated[list[Number], Field(min_length=2, max_length=4096, json_schema_extra=_DIRECTION)] | None = (
        Field(None, description="Of any length but zero; as wide as the release's embeddings.")
    )
    user: User | None = Field(None, description="Videos for a user, without those watched.")

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if [self.video_id, self.text, self.embedding, self.user].count(None) != 3:
            raise ValueError("give exactly one of video_id, text, embedding and user")
        if self.hybrid and self.text is None:
            raise ValueError("hybrid joins words with the embedding: it needs text")
        if self.weights is not None and self.video_id is None and self.user is None:
            raise ValueError("weights mix the modalities of known videos: they need video_id or user")
        if self.embedding is not None and max(map(abs, self.embedding)) < SMALLEST:
            raise ValueError("the embedding is zero: it points nowhere")
        return self


class Explanation(BaseModel):
    """Where a score comes from."""

    stage: str = Field(description="neighbours, index, bm25, overlay, mmr or serendipity", examples=["neighbours"])
    modalities: dict[str, float] = Field(
        description="Cosine of the query with the video as seen by one modality alone; absent ones are left out.",
        examples=[{"visual": 0.91, "text": 0.44}],
    )


class Result(BaseModel):
    """One recommended video. The score is the cosine of its embedding and the query's; with hybrid, RRF's."""

    video_id: str
    score: float
    title: str
    category: str
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    explanation: Explanation | None = Field(None, description="Only where asked for.")


class Recommendations(BaseModel):
    """Best first; all from one release."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "release": 3,
                    "results": [
                        {
                            "video_id": "ocean_waves_007",
                            "score": 0.8731,
                            "title": "Waves before the storm",
                            "category": "ocean",
                            "tags": ["sea"],
                            "metadata": {"views": 1200},
                        }
                    ],
                }
            ]
        }
    )

    release: int
    results: list[Result]


class EmbedRequest(_Asked):
    """Texts to embed with the serving release's tower."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["waves at the beach", "city at night"]}]})

    texts: list[Words] = Field(min_length=1, max_length=64)


class Embeddings(BaseModel):
    """Unit vectors, in the order asked; good as queries for this release only."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"release": 3, "dim": 4, "embeddings": [[0.5, 0.5, -0.5, 0.5]]}]}
    )

    release: int
    dim: int
    embeddings: list[list[float]]


class NewVideo(_Asked):
    """A video to add, by its address; an upload has the same fields beside the file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "uri": "https://videos.example.com/waves.mp4",
                    "video_id": "ocean_waves_008",
                    "title": "Waves at noon",
                    "category": "ocean",
                    "tags": ["sea", "sun"],
                    "metadata": {"views": 0, "lang": "en"},
                }
            ]
        }
    )

    uri: Words = Field(description="https://, s3:// or gs://, or a file in one of the folders that are allowed.")
    video_id: NewId | None = Field(None, description="Made from the content when left out. A known one is replaced.")
    title: Title = ""
    description: Description = ""
    category: Category = ""
    tags: Tags = []
    metadata: Metadata = Field({}, description="Own columns; results can be filtered by them as extra.KEY.")
    created_at: EpochSeconds | None = Field(None, description="Seconds since 1970.")


class Video(BaseModel):
    """A video of the serving release."""

    video_id: str
    title: str
    description: str = ""
    category: str
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    uri: str | None = Field(None, description="Its address; null for files on the service's own disks.")
    created_at: float | None = Field(None, description="Seconds since 1970.")
    duration_s: float | None = None


class VideoPage(BaseModel):
    """Some videos, by id, and where the next page starts."""

    videos: list[Video]
    next_cursor: str | None = Field(None, description="For ?cursor=; null on the last page.")


class Deleted(BaseModel):
    """How many videos are gone."""

    deleted: int


class BatchRequest(_Asked):
    """A catalog (folder or manifest) whose videos are added as one job."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"catalog": "s3://bucket/new/catalog.csv"}]})

    catalog: Words


class Job(BaseModel):
    """A job in the background, and how far it is."""

    id: str
    status: Literal["QUEUED", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
    message: str = ""
    log_tail: str = Field("", description="The last lines of its output.")


class Release(BaseModel):
    """One promoted version and what is known of its promotion."""

    version: int
    collection: str
    promoted_at: str | None = Field(None, description="ISO 8601, UTC.")
    promoted_by: str | None = None
    metrics: dict[str, float] = {}
    forced_reason: str | None = Field(None, description="Why it was promoted although a gate refused it.")
    champion: bool = Field(description="Whether it serves now.")
    size: int | None = Field(None, description="Videos in it; null where its collection is dropped.")


class Following(BaseModel):
    """How far the release that serves follows the alias `champion` in MLflow."""

    state: str = Field(
        description="in_step; following: it is judged and built; waiting for another process; refused by gates; "
        "failed; no_champion; index_moved by something else than a promotion; unreachable: MLflow or the index; "
        "stopped; off",
        examples=["in_step"],
    )
    mode: Literal["gate", "force", "off"] = Field(description="The setting release.follow.")
    wanted: int | None = Field(None, description="The version that the champion points at.")
    reason: str = Field("", description="Why another version serves.")
    gates: list[str] = Field([], description="The gates that refused it.")
    looked_at: str | None = Field(None, description="When somebody looked last, ISO 8601, UTC.")


class Ready(BaseModel):
    """What serves."""

    release: int
    index_size: int
    device: str
    encoders: dict[str, str]
    following: Following | None = Field(None, description="Null before anybody has looked; says nothing of readiness.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="The request's id, as in X-Request-Id.")
    errors: list[dict[str, str]] | None = Field(None, description="Each field that is wrong: where, and what.")

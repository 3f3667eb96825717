"""Requests and responses of the HTTP API.

Numbers and booleans are strict: "5" is not a number. An explicit null is equivalent to omitting the field. Every rule
that JSON Schema can express is in the schema too, for generated clients and tests.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"\S")]
VideoId = Annotated[str, StringConstraints(min_length=1, max_length=512)]
NewId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512, pattern=r"\S")]
# PostgreSQL has no texts with the character 0.
PersonId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")
]
AnswerId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
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
TopK = Annotated[
    int, Field(ge=1, le=200, description="Number of videos.")
]  # not strict: form fields and query parameters are text
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
EpochSeconds = Annotated[float, Field(ge=0, le=1e11, strict=True)]
# Smaller numbers are rounding errors: a vector of only such numbers has no direction.
SMALLEST = 1e-6
Number = Annotated[float, Field(ge=-1e6, le=1e6, strict=True)]
_FILTER: dict[str, JsonValue] = {"and": [{"category": {"in": ["ocean", "sky"]}}, {"duration_s": {"gte": 3, "lt": 60}}]}
_DIRECTION: dict[str, JsonValue] = {
    "contains": {"anyOf": [{"type": "number", "minimum": SMALLEST}, {"type": "number", "maximum": -SMALLEST}]}
}


def _present(*fields: str) -> list[JsonValue]:
    """Return a JSON Schema for each field that requires it to be present and not null."""
    return [{"required": [field], "properties": {field: {"not": {"type": "null"}}}} for field in fields]


def _reject_text_and_bool(value: object) -> object:
    """Accept the same integers as JSON Schema: 5.0, but not "5" or true."""
    if isinstance(value, (str, bool)):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


ReleaseNumber = Annotated[int, BeforeValidator(_reject_text_and_bool), Field(ge=1, le=2**31 - 1)]


class _Request(BaseModel):
    """A request body. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Weights(_Request):
    """Weight of each modality in the query; omitted modalities have weight 0."""

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
    def _check_any_weight(self) -> Self:
        if not (self.visual or self.audio or self.text):
            raise ValueError("at least one modality must have a weight above 0")
        return self


class Watched(_Request):
    """A video in a user's history."""

    video_id: VideoId
    weight: Annotated[float, Field(gt=0, le=1000, strict=True, description="Relative weight in the history.")] = 1.0
    timestamp: EpochSeconds | None = Field(
        None, description="When it was watched, in seconds since 1970; older views have less weight."
    )


class User(_Request):
    """A user: known by their events, or described by their history or the categories they like."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"history": ["ocean_001", {"video_id": "sky_004", "weight": 2, "timestamp": 1790000000}]}],
            "anyOf": [
                {"required": ["history"], "properties": {"history": {"minItems": 1}}},
                {"required": ["liked_categories"], "properties": {"liked_categories": {"minItems": 1}}},
                {"required": ["articles"], "properties": {"articles": {"minItems": 1}}},
                *_present("user_id", "session_id"),
            ],
        }
    )

    user_id: PersonId | None = Field(
        None, description="Use their events up to now. Watched, disliked and hidden videos are not returned."
    )
    session_id: PersonId | None = Field(
        None, description="The same for someone who has not signed in; with user_id, the session becomes theirs."
    )
    rewatch: Flag = Field(False, description="Also return watched videos, but no disliked or hidden ones.")
    history: list[VideoId | Watched] = Field(default_factory=list, max_length=1000, description="In any order.")
    liked_categories: list[Category] = Field(default_factory=list, max_length=50)
    articles: list[Words] = Field(
        default_factory=list,
        max_length=20,
        description="Texts that they have read; the subjects of these are interests.",
    )

    @model_validator(mode="after")
    def _check_any_preference(self) -> Self:
        if self.is_empty and not self.is_known:
            raise ValueError("user_id, session_id, history, liked_categories or articles is required")
        return self

    @property
    def is_known(self) -> bool:
        """Whether their events are looked up."""
        return self.user_id is not None or self.session_id is not None

    @property
    def is_empty(self) -> bool:
        """Whether the request itself has no history, category or text."""
        return not (self.history or self.liked_categories or self.articles)

    def watched(self) -> list[Watched]:
        """Return the history with plain ids converted to entries of weight 1."""
        return [Watched(video_id=entry) if isinstance(entry, str) else entry for entry in self.history]


class RecommendOptions(_Request):
    """Options for selecting results, for every kind of query."""

    top_k: Annotated[TopK, BeforeValidator(_reject_text_and_bool)] = 10
    filter: dict[str, Any] | None = Field(
        None,
        description="Conditions for results: {category: x}, {category: {in: [x, y]}}, {tags: {any | all: [x, y]}}, "
        "{video_id: {in: [x]}}, {created_at | duration_s | extra.KEY: {gte | gt | lte | lt: number}}, "
        "{extra.KEY: text | {in: [x]}}, {and | or: [..]}, {not: {..}}; several keys in one object mean and.",
        examples=[_FILTER],
    )
    weights: Weights | None = Field(
        None,
        description="Combine the query's modality vectors with these weights instead of the release's own combination; "
        "requires video_id, user or an uploaded file.",
    )
    exclude: list[VideoId] = Field(default_factory=list, max_length=1000, description="Video ids to exclude.")
    diversity: Share = Field(0.0, description="0: most similar results. Towards 1: more diverse results (MMR).")
    cross_category: Flag = Field(False, description="Only videos from categories other than the query's.")
    serendipity: Share = Field(0.0, description="Share of results from other categories.")
    hybrid: Flag = Field(
        False,
        description="Add the match of the words to the similarity; requires text, or a video_id or an upload with a "
        'title. A query without a matching word is answered as without hybrid. In text, "words in quotes" must follow '
        "each other in a result, and begin* is the beginning of a word.",
    )
    threshold: Annotated[float, Field(ge=-1, le=1, strict=True)] | None = Field(
        None, description="Only videos whose cosine similarity to the query is at least this."
    )
    explain: Flag = Field(False, description="Include the stage and the similarity per modality for every result.")
    scenario: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        None, description="Ranking steps after the search, by their name in scenarios.yaml of the storage root."
    )
    space: Literal["visual", "audio", "text"] | None = Field(
        None,
        description="Compare exactly in the space of one encoder's own vectors, averaged over each video, instead of "
        "the release's embeddings; of the modalities in release.spaces. Not with user, weights, hybrid, explain, "
        "diversity, threshold.",
    )
    metric: Literal["cosine", "l2", "l1"] | None = Field(
        None, description="Metric of `space`, cosine by default. With l2 and l1, scores are negative distances."
    )
    release: ReleaseNumber | None = Field(
        None,
        description="Answer from this release instead of the one that serves; one of GET /v1/releases/kept.",
    )

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        if self.metric is not None and self.space is None:
            raise ValueError("metric requires space")
        if self.space is not None and (self.weights is not None or self.hybrid or self.explain or self.diversity):
            raise ValueError("space cannot be combined with weights, hybrid, explain and diversity")
        if self.space is not None and self.scenario is not None:
            raise ValueError("space cannot be combined with a scenario, whose steps compare the release's embeddings")
        if self.space is not None and self.threshold is not None:
            raise ValueError("space cannot be combined with threshold, which is a cosine of the release's embeddings")
        return self


# What cannot be combined with `space`: it mixes modalities or embeddings of the release.
_NO_SPACE: dict[str, JsonValue] = {
    "weights": {"type": "null"},
    "threshold": {"type": "null"},
    "hybrid": {"const": False},
    "explain": {"const": False},
    "diversity": {"const": 0},
    "scenario": {"type": "null"},
}
# What chooses results by more than their score.
_AS_RANKED: dict[str, JsonValue] = {
    "space": {"type": "null"},
    "diversity": {"const": 0},
    "serendipity": {"const": 0},
    "scenario": {"type": "null"},
}
_SPACE_RULES: list[JsonValue] = [
    {"anyOf": [{"properties": {"space": {"type": "null"}}}, {"properties": _NO_SPACE}]},
    {"anyOf": [{"properties": {"metric": {"type": "null"}}}, *_present("space")]},
]


_OF_A_PAGE = {"recommendation_id", "top_k"}


class RecommendRequest(RecommendOptions):
    """Exactly one query: an indexed video, a text, an embedding of the current release, a user, or their last page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"video_id": "ocean_waves_001", "top_k": 5},
                {"text": "waves at the beach", "hybrid": True, "filter": {"category": "ocean"}},
                {"user": {"history": ["ocean_waves_001", "sky_004"]}, "diversity": 0.3, "explain": True},
                {"user": {"liked_categories": ["ocean"]}, "serendipity": 0.2},
                {"user": {"user_id": "ann"}, "explain": True},
                {"recommendation_id": "5f0c6b1f9c7d4e0db6a1c2f3a4b5c6d7", "top_k": 5},
                {"video_id": "ocean_waves_001", "weights": {"visual": 0.7, "text": 0.3}, "filter": _FILTER},
                {"video_id": "ocean_waves_001", "space": "visual", "metric": "l2"},
            ],
            "oneOf": _present("video_id", "text", "embedding", "user", "recommendation_id"),
            "allOf": [
                {"anyOf": [{"properties": {"hybrid": {"const": False}}}, *_present("video_id", "text")]},
                {"anyOf": [{"properties": {"rerank": {"const": False}}}, *_present("text")]},
                {"anyOf": [{"properties": {"rerank": {"const": False}}}, {"properties": _AS_RANKED}]},
                {"anyOf": [{"properties": {"weights": {"type": "null"}}}, *_present("video_id", "user")]},
                {"anyOf": [{"properties": {"space": {"type": "null"}}}, {"properties": {"user": {"type": "null"}}}]},
                *_SPACE_RULES,
            ],
        }
    )

    video_id: VideoId | None = Field(None, description="Return videos similar to this one, which is excluded.")
    text: Words | None = Field(None, description="Return videos that match a text.")
    rerank: Flag = Field(
        False,
        description="Order the best results by a network that reads the query and a video's words together, if the "
        "service has one; requires text. Not with space, scenario, diversity, serendipity.",
    )
    embedding: Annotated[list[Number], Field(min_length=2, max_length=4096, json_schema_extra=_DIRECTION)] | None = (
        Field(
            None,
            description="A vector of the release, or of `space`; any norm except zero.",
        )
    )
    user: User | None = Field(None, description="Return videos for a user, excluding those in their history.")
    recommendation_id: AnswerId | None = Field(
        None,
        description="Return the next page of an answer for a user_id or session_id: the same query and options without "
        "the videos of this page and of those before. Takes only top_k.",
    )

    @model_validator(mode="after")
    def _check_query(self) -> Self:
        queries = [self.video_id, self.text, self.embedding, self.user, self.recommendation_id]
        if queries.count(None) != len(queries) - 1:
            raise ValueError("exactly one of video_id, text, embedding, user and recommendation_id is required")
        if self.recommendation_id is not None and self.model_dump(exclude_defaults=True).keys() - _OF_A_PAGE:
            raise ValueError("recommendation_id takes only top_k: the other options are those of the first page")
        if self.hybrid and self.text is None and self.video_id is None:
            raise ValueError("hybrid requires text or video_id, whose title is the words")
        if self.weights is not None and self.video_id is None and self.user is None:
            raise ValueError("weights require video_id or user, because they apply to the modalities of known videos")
        if self.rerank and self.text is None:
            raise ValueError("rerank requires text")
        if self.rerank and (self.space or self.scenario or self.diversity or self.serendipity):
            raise ValueError("rerank cannot be combined with space, scenario, diversity and serendipity")
        if self.space is not None and self.user is not None:
            raise ValueError("space cannot be combined with user")
        if self.embedding is not None and max(map(abs, self.embedding)) < SMALLEST:
            raise ValueError("the embedding is zero and has no direction")
        return self


class UploadQuery(RecommendOptions):
    """What is sent with an uploaded file. Only `file` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {"anyOf": [{"properties": {"hybrid": {"const": False}}}, {"required": ["title"]}]},
                *_SPACE_RULES,
            ],
        }
    )

    title: Title = Field("", description="Title of the video.")

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        if self.hybrid and not self.title:
            raise ValueError("hybrid requires a title")
        return self


class Passage(BaseModel):
    """Something that is said in a video, and when, seconds from its beginning."""

    start_s: float
    end_s: float
    text: str


class WatchedReason(BaseModel):
    """The video of a user's history that a result is nearest to, and the cosine of the two."""

    video_id: str
    title: str
    cosine: float


class Explanation(BaseModel):
    """The origin of a score."""

    stage: str = Field(
        description="neighbours, index, bm25, overlay, mmr, serendipity, popular, user, rule, explore or pin",
        examples=["neighbours"],
    )
    modalities: dict[str, float] = Field(
        description="Cosine similarity of query and video for each modality alone; missing modalities are omitted.",
        examples=[{"visual": 0.91, "text": 0.44}],
    )
    passage: Passage | None = Field(
        None, description="Where most words of the query are said; of queries by text and with hybrid."
    )
    because: WatchedReason | None = Field(None, description="Because they watched this; for users with a history.")


class Result(BaseModel):
    """A recommended video. `score` is the cosine similarity to the query; see hybrid and metric for others."""

    video_id: str
    score: float
    title: str
    category: str
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    has_video: bool = Field(True, description="False for an item that is known by its text only.")
    cosine: float | None = Field(None, description="With hybrid, the cosine similarity within the score.")
    reranked: float | None = Field(None, description="With rerank, the score that decides on the order.")
    poster_url: str | None = Field(None, description="A picture of it, square; null if none was kept.")
    sheet_url: str | None = Field(None, description="Up to 8 frames side by side, square; null if none was kept.")
    media_url: str | None = Field(None, description="The original video; null if there is none.")
    propensity: float | None = Field(
        None, description="The chance that it is among the results; only of scenarios that explore."
    )
    explanation: Explanation | None = Field(None, description="Only if explain is true.")


class Recommendations(BaseModel):
    """Recommended videos of one release, best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "recommendation_id": "5f0c6b1f9c7d4e0db6a1c2f3a4b5c6d7",
                    "release": 3,
                    "results": [
                        {
                            "video_id": "ocean_waves_007",
                            "score": 0.8731,
                            "title": "Waves before the storm",
                            "category": "ocean",
                            "tags": ["sea"],
                            "metadata": {"views": 1200},
                            "has_video": True,
                        }
                    ],
                }
            ]
        }
    )

    recommendation_id: str = Field(description="Names this answer in events.")
    release: int
    results: list[Result]
    reranking_ms: float | None = Field(None, description="With rerank, how long that took.")
    experiment: str | None = Field(None, description="The experiment that the user takes part in with this scenario.")
    arm: str | None = Field(None, description="The arm of the experiment that answered.")
    searched: str | None = Field(
        None, description="With hybrid, the text that was searched instead, because no video has some of its words."
    )


class EmbedRequest(_Request):
    """Texts to embed with the tower of a release."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["waves at the beach", "city at night"]}]})

    texts: list[Words] = Field(min_length=1, max_length=64)
    release: ReleaseNumber | None = Field(None, description="By default, the release that serves.")


class Embeddings(BaseModel):
    """Unit vectors in the order of the request. As queries, they are only valid for this release."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"release": 3, "dim": 4, "embeddings": [[0.5, 0.5, -0.5, 0.5]]}]}
    )

    release: int
    dim: int
    embeddings: list[list[float]]


class NewVideo(_Request):
    """A video to add from a URI. An upload has the same fields in addition to the file."""

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

    uri: Words = Field(description="An https://, s3:// or gs:// URL, or a file in an allowed folder.")
    video_id: NewId | None = Field(
        None, description="Derived from the content if omitted. An existing video with this id is replaced."
    )
    title: Title = ""
    description: Description = ""
    category: Category = ""
    tags: Tags = []
    metadata: Metadata = Field({}, description="Custom fields; results can be filtered by them as extra.KEY.")
    created_at: EpochSeconds | None = Field(None, description="Seconds since 1970.")


class Video(BaseModel):
    """A video of the current release."""

    video_id: str
    title: str
    description: str = ""
    category: str
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    uri: str | None = Field(None, description="Address of the video; null for local files of the service.")
    created_at: float | None = Field(None, description="Seconds since 1970.")
    duration_s: float | None = None
    has_video: bool = Field(True, description="False for an item that is known by its text only.")
    poster_url: str | None = Field(None, description="A picture of it, square; null if none was kept.")
    sheet_url: str | None = Field(None, description="Up to 8 frames side by side, square; null if none was kept.")
    media_url: str | None = Field(None, description="The original video; null if there is none.")
    summary: str = Field("", description="What a language model wrote about it; empty if none was asked.")
    topics: list[str] = Field([], description="Topics by a language model.")
    rewritten_title: str = Field("", description="A title by a language model; `title` is the original.")


class VideoTranscript(BaseModel):
    """What is said in a video, in order of time."""

    video_id: str
    language: str | None = Field(None, description="ISO 639 code.")
    text: str = Field(description="All segments, joined.")
    segments: list[Passage]


class VideoPage(BaseModel):
    """A page of videos, sorted by id."""

    videos: list[Video]
    next_cursor: str | None = Field(None, description="Value of ?cursor= for the next page; null on the last page.")


class CategoryCount(BaseModel):
    """A value of `category` or `tags`, and the number of videos that have it."""

    value: str
    videos: int


class NumberRange(BaseModel):
    """The smallest and the largest value of a field."""

    smallest: float
    largest: float


class MetadataField(BaseModel):
    """A field of `metadata`: the range of a number, or the most frequent values of a text."""

    name: str
    range: NumberRange | None = None
    values: list[CategoryCount] = []


class Facets(BaseModel):
    """What the videos of the current release can be filtered by. Values are sorted by frequency, at most 100 each."""

    videos: int
    categories: list[CategoryCount]
    tags: list[CategoryCount]
    duration_s: NumberRange | None = None
    metadata: list[MetadataField] = []


class Deleted(BaseModel):
    """The number of deleted videos."""

    deleted: int


class BatchRequest(_Request):
    """A catalog (folder or manifest) whose videos are added by a job."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"catalog": "s3://bucket/new/catalog.csv"}]})

    catalog: Words


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="The request id, as in X-Request-Id.")
    errors: list[dict[str, str]] | None = Field(None, description="Location and message of each invalid field.")

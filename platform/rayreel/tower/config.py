"""Settings of the tower, and of releases of frozen features."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, model_validator

from rayreel.encoders.registry import Modality

# Defaults of the settings `recommend.half_life_s`, `recommend.history` and `recommend.watched_interests`.
HALF_LIFE_S = 30 * 86_400.0
HISTORY = 100
INTERESTS = 3

# YAML reads the word `off` as false.
_Off = BeforeValidator(lambda given: "off" if given is False else given)


class TowerConfig(BaseModel):
    """The architecture of a tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modalities: tuple[Modality, ...] = Field(
        tuple(Modality), min_length=1, description="modalities that the tower uses; others are masked, for ablations"
    )
    dim: int = Field(512, ge=8, le=4096, description="embedding dimension; 128 to 1024 is usual")
    projection: int | None = Field(None, ge=8, le=4096, description="width of each modality's projection; unset: dim")
    pooling: Literal["mean", "max", "attention"] = Field("mean", description="pools frames and audio windows")
    fusion: Literal["gated", "concat", "attention"] = Field("gated", description="combines the modalities")
    heads: int = Field(4, ge=1, description="heads of attention fusion; must divide the projection width")
    gate_hidden: int = Field(256, ge=1, description="hidden units of the gate or, for concat, of its network")
    gate_prior: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.45, 0.1, 0.45), description="initial fusion weights of visual, audio and text"
    )
    centre_words: bool = Field(
        True, description="move words to where pictures or sounds lie, for encoders with a space shared with words"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the standardised features during training")

    @property
    def width(self) -> int:
        """Width of each modality's projection."""
        return self.projection or self.dim

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.fusion == "attention" and self.width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide the projection width of {self.width}. Set tower.heads to a divisor."
            )
        return self


class Smoothing(BaseModel):
    """How the vectors of the index are averaged with those of their nearest videos; 0 neighbours: not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(0, ge=0, le=1000, description="nearest videos that a video's vector is averaged with")
    alpha: float = Field(0.0, ge=0, description="a neighbour's weight is its cosine to this power; 0: all weigh alike")

    def __str__(self) -> str:
        return f"{self.neighbours} nearest, alpha {self.alpha:g}" if self.neighbours else "none"


class FrozenConfig(BaseModel):
    """A release of frozen features (train.recipe=frozen)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Measured on 400 clips of 59 repositories with the laptop encoders; see docs/training.md.
    visual: NonNegativeFloat = Field(0.4, description="weight of the frames' cosine; 0: frames are not read")
    audio: NonNegativeFloat = Field(0.05, description="weight of the sound's cosine; 0: sound is not read")
    text: NonNegativeFloat = Field(0.55, description="weight of the text's cosine; 0: text is not read")
    standardise: bool = Field(
        True,
        description="subtract the training videos' mean and divide by their spread; false: the encoders' own vectors",
    )

    inverse_frequency: bool = Field(
        False,
        description="multiply each place of the text's vector by how rare it is among the training videos, instead of "
        "standardising it; for counts of words, as by train.recipe=words",
    )
    centre_words: bool = Field(True, description="as tower.centre_words, with standardised vectors")
    min_agreement: float = Field(
        0.1,
        ge=-1,
        le=1,
        description="text keeps only a twentieth of its weight if its cosines correlate less than this with those of "
        "the frames, as with file names that say nothing; -1: never",
    )

    @property
    def weights(self) -> dict[Modality, float]:
        """The weights above zero."""
        given = {Modality.VISUAL: self.visual, Modality.AUDIO: self.audio, Modality.TEXT: self.text}
        return {modality: weight for modality, weight in given.items() if weight}

    @model_validator(mode="after")
    def _reads_a_modality(self) -> Self:
        if not self.weights:
            raise ValueError("all weights are 0. Set one of frozen.visual, frozen.audio and frozen.text above 0.")
        return self


class ProbeConfig(BaseModel):
    """A release of frozen features beside the scores of a classifier (train.recipe=probe)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: FrozenConfig = FrozenConfig()
    categories: tuple[str, ...] = Field((), description="the categories that the classifier tells apart")


class UserTowerConfig(BaseModel):
    """The user tower, which is trained on what people watched after what (with interactions)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Annotated[Literal["auto", "off"], _Off] = Field(
        "auto", description="auto: train one if there are interactions, and release it if it is better; off: never"
    )
    session: Literal["attention", "gru", "transformer"] = Field(
        "attention",
        description="how the newest videos are read; attention: by several attentions with half-lives; gru: one after "
        "the other; transformer: by self-attention with positions, as in SASRec",
    )
    width: int = Field(64, ge=1, description="length of the part of a user's vector that is learnt")
    heads: int = Field(
        4, ge=1, description="attention and transformer: attentions over a history; transformer: must divide width"
    )
    history: int = Field(50, ge=1, le=HISTORY, description="newest videos of a history that are attended to")
    half_life_s: float = Field(HALF_LIFE_S, gt=0, description="half-life of the mean that it starts from, seconds")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of what was read that is left out in training")
    id_dropout: float = Field(0.2, ge=0, lt=1, description="share of videos whose ids are left out of a training step")
    memory_regularisation: float = Field(
        500.0, gt=0, description="memory of what else people watched (EASE): L2 regularisation of its weights"
    )
    memory_decay: float = Field(
        0.8, gt=0, le=1, description="memory: weight of a video of a history, as a share of that of the one after it"
    )
    learning_rate: float = Field(2e-3, gt=0, description="AdamW learning rate")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay, of matrices only")
    batch_size: int = Field(512, ge=2, description="next views per step; their videos are the candidates")
    epochs: int = Field(20, ge=1, description="most passes over all views")
    patience: int = Field(3, ge=1, description="passes without improvement on validation views before it ends")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.session == "transformer" and self.width % self.heads:
            raise ValueError(f"user_tower.heads ({self.heads}) must divide user_tower.width ({self.width}).")
        return self

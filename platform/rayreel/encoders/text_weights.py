"""How much each source of text counts in the vector of a video's texts. Imports nothing heavy."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TextWeight = Annotated[float, Field(ge=0, le=100), AfterValidator(lambda weight: round(weight, 3))]
_WEIGHTED = "+texts"


class TextWeights(BaseModel):
    """How much each source of text counts in the vector of a video's texts; 0 leaves it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: TextWeight = Field(1, description="the title")
    description: TextWeight = Field(1, description="the description")
    tags: TextWeight = Field(1, description="the tags")
    transcript: TextWeight = Field(1, description="what is said")
    summary: TextWeight = Field(0, description="summary, topics and title by a language model")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("all text_weights are 0: give one of them a positive weight")
        return self

    @property
    def suffix(self) -> str:
        """What is added to the identity of a text encoder."""
        return "-".join([_WEIGHTED, *(f"{weight:g}" for _, weight in self)])


def weights_in(identity: str) -> TextWeights | None:
    """Return the weights that a text encoder's identity names; None without any.

    >>> weights_in("all_minilm_l6_v2@53aa51172d14+256-unit-mean+texts-1-0.5-1-0.25-0").transcript
    0.25
    """
    _, found, weights = identity.partition(f"{_WEIGHTED}-")
    names = TextWeights.model_fields
    return TextWeights(**dict(zip(names, map(float, weights.split("-")), strict=True))) if found else None

"""The model card of a tower."""

from typing import Any


def model_card(name: str, facts: dict[str, Any]) -> str:
    """Return Markdown with the intended use of the tower and the facts of its training."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""# {name}

Embeds short videos, or any part of one (frames, sound, text), as unit vectors; their cosine is the similarity.
Input: features of the frozen encoders named by `encoder_key`; it cannot use features of any other key.
Meant for content-based recommendation and search within catalogs like the one it was trained on.
Not meant for recognising people, nor for judging quality or truth. It repeats the biases of its frozen encoders.

| fact | value |
|---|---|
{rows}
"""

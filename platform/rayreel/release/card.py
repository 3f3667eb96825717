"""The model card: what a tower is, for people."""

from typing import Any


def model_card(name: str, facts: dict[str, Any]) -> str:
    """Markdown with what the tower is for and the facts of its training."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""# {name}

Embeds short videos, or any part of one (frames, sound, text), as unit vectors; cosine says how alike two are.
Input: features of the frozen encoders named by `encoder_key`; features of any other key mean nothing to it.
Meant for content-based recommendation and search within catalogs like the one it was trained on.
Not meant for recognising people, nor for judging quality or truth. It repeats the biases of its frozen encoders.

| fact | value |
|---|---|
{rows}
"""

"""The package open_clip, which is an extra, and the weights that it knows by name."""

from typing import Any

from rayreel.encoders.weights import OpenClipName
from rayreel.errors import RayreelError


def library() -> Any:  # noqa: ANN401 - a module without types
    """Import open_clip, which takes seconds. Raises RayreelError if the extra is not installed."""
    try:
        import open_clip
    except ImportError as error:
        raise RayreelError(f"{error}. Checkpoints of open_clip need it: pip install rayreel[open_clip].") from error
    return open_clip


def repo_of(name: OpenClipName) -> str:
    """Return the repository of weights that open_clip lists; of other names, the one called so on the hub."""
    open_clip = library()
    if name.model not in open_clip.list_models():
        return f"{name.model}/{name.pretrained}"
    listed = open_clip.get_pretrained_cfg(name.model, name.pretrained)
    if not listed.get("hf_hub"):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name.model)) or "none"
        raise RayreelError(f"open_clip has no weights {name.pretrained!r} of {name.model}. It has: {tags}.")
    return "/".join(listed["hf_hub"].split("/")[:2])

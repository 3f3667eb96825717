"""rayreel: from a pile of videos to content-based recommendations, on Ray.

The functions of `rayreel.api` are attributes of this package, imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayreel.api import evaluate as evaluate
    from rayreel.api import extract as extract
    from rayreel.api import promote as promote
    from rayreel.api import recommend as recommend
    from rayreel.api import sample as sample
    from rayreel.api import train as train

__version__ = "0.1.0"
__all__ = ["evaluate", "extract", "promote", "recommend", "sample", "train"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as the attribute
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rayreel import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

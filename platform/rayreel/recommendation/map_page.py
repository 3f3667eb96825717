"""A map as one self-contained page, with Plotly, and as a picture for reports."""

import base64
import io
import json
from importlib import resources

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from rayreel.recommendation.map import FUSED, VideoMap

# Colour-blind safe, in this order: Okabe and Ito 2008, then lighter and darker ones of the same hues.
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#b8a900", "#7f7f7f", "#1b4f72"),
    *("#a04000", "#0b6e4f", "#7d3c98", "#5d6d7e", "#f1948a", "#82e0aa", "#85c1e9", "#d7bde2", "#a3a500", "#4a235a"),
)


def page(made: VideoMap) -> str:
    """Return HTML: points with posters, a choice of space and colour, and a selection that can be saved as CSV."""
    folder = resources.files("rayreel.recommendation")
    content = {
        "count": len(made.ids),
        "ids": _lines(made.ids),
        "titles": _lines(made.titles),
        "spaces": {
            "2-D": {name: _axes(places_N2) for name, places_N2 in made.planes.items()},
            "3-D": {name: _axes(places_N3) for name, places_N3 in made.solids.items()},
        },
        "groups": {name: _codes(values) for name, values in made.groups.items()},
        "copies": _lines(made.copies) if any(made.copies) else "",
        "ndcg": _numbers(made.ndcg),
        "posters": made.posters if any(made.posters) else [],
        "colours": COLOURS,
    }
    # In a script element, only `</` could end it early.
    data = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
    about = f"{len(made.ids):,} videos of release {made.release}, laid out by {made.layout}"
    return (
        (folder / "map.html")
        .read_text()
        .replace("{{about}}", about)
        .replace("{{data}}", data)
        .replace("{{code}}", (folder / "map.js").read_text())
        .replace("{{plotly}}", get_plotlyjs())
    )


def picture(made: VideoMap) -> bytes:
    """Return a PNG of the map by all modalities, coloured by category or, without categories, by cluster."""
    by = "category" if len(set(made.groups["category"])) > 1 else "cluster"
    figure = Figure((10, 7.2), dpi=110, layout="constrained")
    axes, places_N2 = figure.subplots(), made.planes[FUSED]
    labels = np.array(made.groups[by])
    for number, name in enumerate(sorted(set(made.groups[by]))):
        of = labels == name
        x, y = places_N2[of].T
        axes.scatter(x, y, s=26, color=COLOURS[number % len(COLOURS)], label=name, linewidths=0, alpha=0.85)
    axes.set_axis_off()
    axes.set_title(f"{len(made.ids):,} videos of release {made.release} by {by}, {made.layout}", loc="left")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


# A million numbers or texts as JSON would be a million objects in the browser: numbers are base64 of little-endian
# arrays, and texts one text.


def _axes(places_NA: NDArray[np.float32]) -> list[str]:
    return [_numbers(values_N) for values_N in places_NA.T]


def _numbers(values_N: NDArray[np.float32]) -> str:
    return base64.b64encode(values_N.astype("<f4").tobytes()).decode()


def _codes(values: list[str]) -> dict[str, list[str] | str]:
    """Return the different values, and the number of each video's value in uint32."""
    names, codes_N = np.unique(np.array(values, object), return_inverse=True)
    return {"names": names.tolist(), "of": base64.b64encode(codes_N.astype("<u4").tobytes()).decode()}


def _lines(texts: list[str]) -> str:
    return "\n".join(text.replace("\n", " ") for text in texts)

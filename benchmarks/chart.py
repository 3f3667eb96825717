"""The README's chart, drawn from benchmarks/results: `python -m benchmarks.chart`."""

import math
from collections.abc import Iterable, Iterator
from html import escape

from benchmarks.measurement import RESULTS, BenchmarkRun, Measurement, Reference, read_results

_ROW, _WIDTH, _LEFT, _RIGHT = 22, 250, 180, 610
# Ratios to peers differ by orders of magnitude, hence a logarithmic axis.
_PEER_RANGE, _LIMIT_MAX = (0.1, 2_000.0), 1.2
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.value{fill:#111}.bar{fill:#3b82c4}.missed{fill:#c0392b}"
    ".floor{stroke:#111;stroke-width:2}.one{stroke:#999;stroke-dasharray:3 3}"
)


def draw_chart(results: Iterable[BenchmarkRun]) -> str:
    """Return the chart as SVG: bars to the right of 1 are better than the peer; the black tick is the floor."""
    rows = [one for result in results for one in result.measurements if one.ratio(one.peer) or one.ratio(one.limit)]
    height, width = 50 + _ROW * len(rows), _RIGHT + _LEFT + _WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    panels = (("rayreel ÷ peer (logarithmic)", _LEFT, _on_log_axis(1)), ("rayreel ÷ limit", _RIGHT, 1 / _LIMIT_MAX))
    for title, x, one_at in panels:
        line = f'x1="{x + one_at * _WIDTH:.1f}" x2="{x + one_at * _WIDTH:.1f}" y1="30" y2="{height - 10}"'
        parts += [f'<text class="value" x="{x}" y="20">{title}</text>', f'<line class="one" {line}/>']
    for number, one in enumerate(rows):
        y = 40 + _ROW * number
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(one.name)}</text>')
        parts += _bar(one, one.peer, _LEFT, y)
        parts += _bar(one, one.limit, _RIGHT, y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _on_log_axis(ratio: float) -> float:
    """Return the place of a ratio to a peer, from 0 to 1."""
    low, high = (math.log(end) for end in _PEER_RANGE)
    return min(1.0, max(0.0, (math.log(ratio) - low) / (high - low)))


def _bar(one: Measurement, reference: Reference | None, x: float, y: float) -> Iterator[str]:
    """Yield bar, floor and value of a ratio: from 1 on the peers' axis, from 0 on the limits'."""
    ratio = one.ratio(reference)
    if ratio is None or reference is None:
        return

    def place(value: float) -> float:
        axis = _on_log_axis(value) if reference is one.peer else min(value / _LIMIT_MAX, 1)
        return x + axis * _WIDTH

    start, end = sorted((place(1) if reference is one.peer else x, place(ratio)))
    kind = "bar" if one.meets(reference) else "missed"
    yield f'<rect class="{kind}" x="{start:.1f}" y="{y}" width="{max(end - start, 1):.1f}" height="{_ROW - 6}"/>'
    if reference.floor is not None:
        floor = place(reference.floor)
        yield f'<line class="floor" x1="{floor:.1f}" x2="{floor:.1f}" y1="{y - 2}" y2="{y + _ROW - 4}"/>'
    label = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    yield f'<text class="value" x="{end + 5:.1f}" y="{y + 12}">{label} x {escape(reference.name)}</text>'


if __name__ == "__main__":
    (RESULTS / "chart.svg").write_text(draw_chart(read_results()), encoding="utf-8")

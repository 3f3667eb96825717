import itertools
import random
from typing import Any

import pytest
from pymilvus import MilvusClient

from index_filling import Fill
from rayreel.index.collection import CATEGORY_BYTES, MAX_TAGS
from rayreel.index.config import IndexConfig
from rayreel.index.filters import BadFilter, matches, parse_filter, to_milvus
from rayreel.index.write import IndexRow, Vector, upsert

ROW = {
    "video_id": "v1",
    "category": "sport",
    "tags": ["ball", "net"],
    "extra": {"views": 7, "lang": "de", "nsfw": False, "ratio": 0.5, "none": None},
    "created_at": 1000.0,
    "duration_s": 12.5,
}
TRUE: list[dict[str, Any]] = [
    {"category": "sport"},
    {"category": {"in": ["music", "sport"]}},
    {"video_id": "v1"},
    {"tags": {"any": ["goal", "net"]}},
    {"tags": {"all": ["net", "ball"]}},
    {"created_at": {"gte": 1000, "lt": 1001}},
    {"duration_s": {"gt": 12.4, "lte": 12.5}},
    {"extra.duration_s": {"gt": 12}},
    {"extra.views": 7},
    {"extra.views": 7.0},
    {"extra.views": {"in": ["x", 7]}},
    {"extra.views": {"gt": 6}},
    {"extra.lang": "de"},
    {"extra.nsfw": False},
    {"category": "sport", "extra.lang": "de"},
    {"and": [{"category": "sport"}, {"tags": {"any": ["net"]}}]},
    {"or": [{"category": "music"}, {"extra.views": 7}]},
    {"not": {"extra.missing": "x"}},
    {"not": {"extra.none": {"lt": 5}}},
    {"not": {"extra.lang": {"lt": 5}}},
]
FALSE: list[dict[str, Any]] = [
    {"category": "Sport"},
    {"tags": {"all": ["net", "goal"]}},
    {"created_at": {"gt": 1000}},
    {"extra.missing": "x"},
    {"extra.views": "7"},
    {"extra.views": True},
    {"extra.nsfw": 0},
    {"extra.nsfw": {"lt": 1}},
    {"extra.lang": {"gte": 0}},
    {"extra.ratio": {"gte": 0.6}},
    {"category": "sport", "extra.lang": "en"},
    {"not": {"or": [{"category": "music"}, {"extra.views": 7}]}},
]
BAD: dict[str, list[object]] = {
    "filter": [None, {}, [], "category == 1", 7, {"and": [{"category": str(n)} for n in range(65)]}],
    "filter.title": [{"title": "x"}],
    "filter.extra.": [{"extra.": 1}, {"extra.": {"lt": 1}}],
    'filter.extra.a"]': [{'extra.a"]': 1}],
    "filter.extra.ä": [{"extra.ä": 1}],
    "filter.extra.1a": [{"extra.1a": 1}],
    "filter.extra." + 65 * "a": [{"extra." + 65 * "a": 1}],
    "filter.7": [{7: 1}],
    "filter.category": [{"category": 7}, {"category": {"any": ["a"]}}, {"category": None}, {"category": "x" * 5000}],
    "filter.category.in": [{"category": {"in": []}}, {"category": {"in": "a"}}, {"category": {"in": ["a"] * 201}}],
    "filter.tags": [{"tags": "a"}, {"tags": {"any": ["a"], "all": ["a"]}}, {"tags": {}}],
    "filter.tags.any": [{"tags": {"any": [1]}}, {"tags": {"any": []}}],
    "filter.created_at": [{"created_at": 5}, {"created_at": {}}, {"created_at": {"lt": 1, "in": [1]}}],
    "filter.created_at.lt": [
        {"created_at": {"lt": bad}} for bad in ("1", True, None, float("nan"), float("inf"), 2**54)
    ],
    "filter.and[1].or": [{"and": [{"category": "a"}, {"or": {}}]}],
    "filter.not": [{"not": []}],
    "filter.extra.k": [{"extra.k": None}, {"extra.k": [1]}, {"extra.k": "\ud800"}],
    "filter.not.not.not.not.not": [{"not": {"not": {"not": {"not": {"not": {"category": "a"}}}}}}],
}


@pytest.mark.parametrize("written", TRUE, ids=str)
def test_a_filter_that_matches(written: dict[str, Any]) -> None:
    assert matches(parse_filter(written), ROW)
    assert not matches(parse_filter({"not": written}), ROW)


@pytest.mark.parametrize("written", FALSE, ids=str)
def test_a_filter_that_does_not_match(written: dict[str, Any]) -> None:
    assert not matches(parse_filter(written), ROW)
    assert matches(parse_filter({"not": written}), ROW)


@pytest.mark.parametrize(("place", "written"), [(place, bad) for place, many in BAD.items() for bad in many])
def test_an_invalid_filter_is_reported_with_its_place(place: str, written: object) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_filter(written)
    assert str(caught.value).startswith(f"{place}: ")


def test_equal_filters_are_equal_and_have_equal_hashes() -> None:
    written = {"category": "a", "or": [{"extra.k": 1}, {"tags": {"any": ["x"]}}]}
    assert len({parse_filter(written), parse_filter(written)}) == 1


def test_an_empty_row_satisfies_no_condition_and_every_negation() -> None:
    for written in (*TRUE[:13], *FALSE[:10]):
        if "not" not in written:
            assert not matches(parse_filter(written), {})
            assert matches(parse_filter({"not": written}), {})


PIECES = [
    '"',
    "'",
    "\\",
    "\n",
    "\r",
    "\t",
    "\0",
    "]",
    ")",
    " or true",
    "{x}",
    "%",
    "$meta",
    "é",
    "日本",
    "😀",
    "a",
    "\u2028",
]
KEYS = ["views", "lang", "a_b", "_x", "duration_s", "exists", "text"]


def some_text(chance: random.Random) -> str:
    if chance.random() < 0.05:
        return "é" * (CATEGORY_BYTES // 2) + "".join(chance.choices("ab", k=2))
    return "".join(chance.choices(PIECES, k=chance.randrange(4)))


def some_value(chance: random.Random) -> str | float:
    values: list[str | float] = [some_text(chance), chance.randrange(-3, 3)]
    values += [chance.choice([0.5, -2.0, 1e15, 1e-7, 2.0**53]), True, False]
    return chance.choice(values)


def some_row(chance: random.Random, number: int, embedding: Vector) -> IndexRow:
    extra = {key: some_value(chance) for key in chance.sample(KEYS, chance.randrange(len(KEYS)))}
    if chance.random() < 0.5:
        extra["created_at"] = chance.choice([0.0, 5.0, 1.7e9])
    tags = tuple(some_text(chance) for _ in range(chance.choice([0, 1, 3, MAX_TAGS + 2])))
    return IndexRow(f"{some_text(chance)}{number}", embedding, category=some_text(chance), tags=tags, extra=extra)


def some_filter(chance: random.Random, rows: list[IndexRow], depth: int = 4) -> dict[str, Any]:
    """Take values mostly from a row, so that enough conditions match."""
    row = chance.choice(rows)
    kind = chance.choice(["category", "video_id", "tags", "own", "own", "range", "range"] + ["nest"] * (depth > 1) * 6)
    key = chance.choice(KEYS)
    match kind:
        case "category" | "video_id":
            values = [getattr(row, kind), some_text(chance)]
            return {kind: chance.choice(values) if chance.random() < 0.5 else {"in": values}}
        case "tags":
            return {"tags": {chance.choice(["any", "all"]): [*row.tags[-2:], *[some_text(chance)] * (not row.tags)]}}
        case "own":
            value = row.extra.get(key, some_value(chance))
            return {f"extra.{key}": chance.choice([value, {"in": [value, some_value(chance)]}])}
        case "range":
            bounds = chance.sample(["gt", "gte", "lt", "lte"], chance.randrange(1, 3))
            field = chance.choice([f"extra.{key}", "created_at", "duration_s"])
            return {field: {bound: chance.choice([-1, 0, 0.5, 5, 1.7e9]) for bound in bounds}}
    parts = [some_filter(chance, rows, depth - 1) for _ in range(chance.randrange(1, 4))]
    return chance.choice(
        [{"and": parts}, {"or": parts}, {"not": parts[0]}, dict(itertools.chain(*map(dict.items, parts)))]
    )


@pytest.fixture(scope="module")
def nasty(client: MilvusClient, rows: list[IndexRow], fill: Fill) -> tuple[str, list[IndexRow]]:
    chance = random.Random(7)
    made = [some_row(chance, number, row.embedding) for number, row in enumerate(rows[:120])]
    return fill(1, made), made


@pytest.mark.parametrize("seed", range(4))
def test_milvus_and_python_agree_on_random_filters_and_rows(
    client: MilvusClient, nasty: tuple[str, list[IndexRow]], seed: int
) -> None:
    collection, rows = nasty
    chance = random.Random(seed)
    selective = 0
    for _ in range(150):
        written = some_filter(chance, rows)
        wanted = parse_filter(written)
        expected = {row.video_id for row in rows if matches(wanted, as_mapping(row))}
        found = client.query(collection, filter=to_milvus(wanted), output_fields=["video_id"], limit=1000)
        assert {row["video_id"] for row in found} == expected, written
        selective += 0 < len(expected) < len(rows)
    assert selective > 60


def test_milvus_and_python_agree_on_rows_not_flushed_yet(
    client: MilvusClient, config: IndexConfig, nasty: tuple[str, list[IndexRow]], fill: Fill
) -> None:
    _, rows = nasty
    collection = fill(2, rows[:1])
    upsert(client, collection, rows[1:], config)
    chance = random.Random(11)
    for _ in range(100):
        wanted = parse_filter(some_filter(chance, rows))
        expected = {row.video_id for row in rows if matches(wanted, as_mapping(row))}
        found = client.query(collection, filter=to_milvus(wanted), output_fields=["video_id"], limit=1000)
        assert {row["video_id"] for row in found} == expected


def as_mapping(row: IndexRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("video_id", "category", "tags", "extra")}

import datetime as dt
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.manifest import read_manifest
from rayreel.catalog.problem import CatalogError, RowProblem
from rayreel.catalog.read import read_catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason


def read(tmp_path: Path, name: str, content: str | bytes) -> list[CatalogVideo | RowProblem]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_manifest(str(path)))


def ids(items: list[CatalogVideo | RowProblem]) -> list[str]:
    return [item.video_id for item in items if isinstance(item, CatalogVideo)]


def problems(items: list[CatalogVideo | RowProblem]) -> list[RowProblem]:
    return [item for item in items if isinstance(item, RowProblem)]


def test_a_csv_cell_may_contain_commas_quotes_and_newlines(tmp_path: Path) -> None:
    text = '\ufeffvideo_id,uri,title,tags\r\n1,a.mp4,"Red, ""green""\nand blue",x | y|\r\n'
    (video,) = read(tmp_path, "c.csv", text)
    assert isinstance(video, CatalogVideo)
    assert (video.video_id, video.title, video.tags) == ("1", 'Red, "green"\nand blue', ("x", "y"))


def test_numbers_in_known_columns_stay_text(tmp_path: Path) -> None:
    (video,) = read(tmp_path, "c.tsv", "video_id\turi\ttitle\tyear\n007\ta.mp4\t1984\t1984\n")
    assert isinstance(video, CatalogVideo)
    assert (video.video_id, video.title, video.extra) == ("007", "1984", {"year": 1984})


def test_malformed_csv_rows_are_problems_with_row_and_line_and_the_others_are_read(tmp_path: Path) -> None:
    rows = [
        "video_id,uri,title,created_at",
        'a,a.mp4,"two\nlines",',
        "b,b.mp4,one,two,three",
        "c,c.mp4",
        "",
        ",d.mp4,no id,",
        "e,,,",
        "f,f.mp4,bad date,2024-13-01",
        "g,g.mp4,good,2024-12-01",
    ]
    items = read(tmp_path, "c.csv", "\n".join(rows))
    assert ids(items) == ["a", "g"]
    reported = [(p.row, p.video_id, p.detail.partition("c.csv ")[2].partition(";")[0]) for p in problems(items)]
    assert reported == [
        (2, "b", "row 2 (line 4): 5 cells, but the header has 4"),
        (3, "c", "row 3 (line 5): 2 cells, but the header has 4"),
        (4, "", "row 4 (line 7): video_id is empty."),
        (5, "e", "row 5 (line 8): uri is empty, and so are title, description and tags."),
        (
            6,
            "f",
            "row 6 (line 9): created_at is '2024-13-01', expected a date such as 2024-01-31 or 2024-01-31T12:00:00Z.",
        ),
    ]
    assert {p.reason for p in problems(items)} == {Reason.INVALID_ROW}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "video_id,uri,title,tags\na,,Surf,\nb, ,,sea|sky\nc,c.mp4,,\n"),
        (
            "c.jsonl",
            '{"video_id": "a", "title": "Surf", "uri": null}\n{"video_id": "b", "tags": ["sea", "sky"]}\n'
            '{"video_id": "c", "uri": "c.mp4"}\n',
        ),
    ],
)
def test_a_row_without_a_uri_is_an_item_that_has_only_a_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "c.mp4").touch()
    (tmp_path / name).write_text(content)
    catalog = read_catalog(tmp_path / name)
    assert not catalog.problems
    assert [(video.video_id, video.uri, video.text()) for video in catalog.videos] == [
        ("a", "", "Surf"),
        ("b", "", "sea sky"),
        ("c", str(tmp_path / "c.mp4"), ""),
    ]


def test_the_text_of_a_row_whose_file_is_missing_is_kept_with_the_problem(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("video_id,uri,title\na,a.mp4,Surf\na,,Again\nb,,\n")
    missing, twice, empty = read_catalog(tmp_path / "c.csv").problems
    assert missing.reason is Reason.MISSING_FILE and missing.video is not None and missing.video.title == "Surf"
    assert (twice.reason, twice.video) == (Reason.DUPLICATE_ID, None)
    assert (empty.reason, empty.video) == (Reason.INVALID_ROW, None)


def test_an_unclosed_quote_invalidates_only_its_own_row(tmp_path: Path) -> None:
    many = "".join(f"{i},{i}.mp4,{'x' * 50}\n" for i in range(5000))
    items = read(tmp_path, "c.csv", f'video_id,uri,title\na,a.mp4,"open\n{many}b,b.mp4,"good, ""really"""\n')
    assert ids(items) == [*map(str, range(5000)), "b"]
    (problem,) = problems(items)
    assert problem.row == 1 and "(line 2): unbalanced quotes" in problem.detail


def test_a_byte_that_is_not_utf8_invalidates_only_its_own_row(tmp_path: Path) -> None:
    content = b"video_id,uri,title,note\na,a.mp4,caf\xe9,\nb,b.mp4,,caf\xe9\nc,c.mp4,caf\xc3\xa9,\n"
    items = read(tmp_path, "c.csv", content)
    assert [problem.detail.split(": ")[1] for problem in problems(items)] == [
        "title is not valid UTF-8 text.",
        "note is not valid UTF-8 text.",
    ]
    assert ids(items) == ["c"]


def test_the_unnamed_index_column_of_a_data_frame_is_dropped(tmp_path: Path) -> None:
    (video,) = read(tmp_path, "c.csv", ",video_id,uri\n0,a,a.mp4\n")
    assert isinstance(video, CatalogVideo) and video.extra == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "id;uri\n1;a.mp4\n", "lacks the column(s) video_id, uri; it has 'id;uri'"),
        ("c.csv", "", "it has none"),
        ("c.csv", "video_id,uri,x,x\n", "column(s) x more than once"),
        ("c.csv", "video_id,uri\n".encode("utf-16"), "Save it as UTF-8"),
        (
            "c.jsonl",
            '{"id": 1, "uri": "a"}\n{"id": 2, "uri": "b"}\n',
            "lacks the column(s) video_id; it has 'id', 'uri'",
        ),
        ("c.parquet", b"no parquet", "cannot be read as Parquet"),
        ("c.xlsx", "", "must end in .csv"),
    ],
)
def test_a_file_that_is_not_a_manifest_raises_an_error_that_names_it(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(CatalogError) as error:
        read(tmp_path, name, content)
    assert message in str(error.value) and str(tmp_path / name) in str(error.value)


def test_a_parquet_file_without_the_required_columns_raises_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) video_id, uri; it has 'id'"):
        list(read_manifest(str(tmp_path / "c.parquet")))


def test_jsonl_rows_keep_their_types_and_malformed_lines_are_problems(tmp_path: Path) -> None:
    good = {"video_id": 7, "uri": "a.mp4", "tags": ["x", None], "views": 3, "hd": True, "stats": {"a": 1}}
    lines = [json.dumps(good), "", '{"video_id": ', "[1]", '{"video_id": "b"}', '{"video_id": [1], "uri": "c"}']
    video, *rest = read(tmp_path, "c.ndjson", "\n".join(lines))
    assert isinstance(video, CatalogVideo)
    assert (video.video_id, video.tags) == ("7", ("x",))
    assert video.extra == {"views": 3, "hd": True, "stats": '{"a": 1}'} and video.extra["hd"] is True
    assert [p.row for p in problems(rest)] == [2, 3, 4, 5]
    messages = [
        "(line 3): not valid JSON",
        "expected a JSON object, found '[1]'",
        "uri is empty, and so are title, description and tags",
        "video_id is [1], expected text",
    ]
    assert all(message in p.detail for message, p in zip(messages, problems(rest), strict=True))


def test_parquet_types_become_plain_values(tmp_path: Path) -> None:
    noon = dt.datetime(2024, 1, 31, 12)
    columns = {
        "video_id": pa.array([1, 2]),
        "uri": pa.array(["a.mp4", None]),
        "title": pa.array([float("nan"), None]),
        "created_at": pa.array([noon, None], pa.timestamp("ns")),
        "score": pa.array([float("nan"), 1.0]),
        "seen": pa.array([dt.date(2024, 1, 1), None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    video, problem = read_manifest(str(tmp_path / "c.parquet"))
    assert isinstance(video, CatalogVideo) and isinstance(problem, RowProblem)
    assert (video.video_id, video.title, video.created_at) == ("1", "", noon.replace(tzinfo=dt.UTC))
    assert video.extra == {"score": None, "seen": "2024-01-01"}
    assert (problem.row, problem.video_id) == (2, "2")
    assert problem.detail.endswith("c.parquet row 2: uri is empty, and so are title, description and tags.")


def test_relative_uris_are_resolved_from_the_manifest(tmp_path: Path) -> None:
    uris = {
        "clips/a.mp4": f"{tmp_path}/lists/clips/a.mp4",
        "../b.mp4": f"{tmp_path}/b.mp4",
        "/data/c.mp4": "/data/c.mp4",
        "file:///data/d%20e.mp4": "/data/d e.mp4",
        "s3://bucket/f.mp4": "s3://bucket/f.mp4",
        "https://host/g.mp4?x=1": "https://host/g.mp4?x=1",
    }
    (tmp_path / "lists").mkdir()
    rows = "".join(f"{i},{uri}\n" for i, uri in enumerate(uris))
    items = read(tmp_path, "lists/c.csv", f"video_id,uri\n{rows}h,file://data/h.mp4\n")
    assert [item.uri for item in items[:-1]] == list(uris.values())
    assert "refers to the host 'data'" in problems(items)[0].detail


def test_a_remote_manifest_is_read_and_its_relative_uris_stay_remote() -> None:
    with fsspec.open("memory://bucket/lists/c.csv", "w") as file:
        file.write("video_id,uri\na,../clips/a b.mp4\nb,s3://other/b.mp4\n")
    uris = [item.uri for item in read_manifest("memory://bucket/lists/c.csv")]
    assert uris == ["memory://bucket/clips/a b.mp4", "s3://other/b.mp4"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("memory://bucket/nowhere.csv", "does not exist"),
        ("/nowhere/c.jsonl", "does not exist"),
        ("nosuchscheme://bucket/c.csv", "cannot be opened"),
    ],
)
def test_a_manifest_that_cannot_be_opened_raises_an_error(uri: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        list(read_manifest(uri))


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl", "c.parquet"])
def test_memory_use_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    def peak(rows: int) -> int:
        columns = {"video_id": [str(i) for i in range(rows)], "uri": ["a.mp4"] * rows, "title": ["x" * 200] * rows}
        lines = {
            "c.csv": ["video_id,uri,title", *(f"{i},a.mp4,{'x' * 200}" for i in range(rows))],
            "c.jsonl": [json.dumps({name: values[i] for name, values in columns.items()}) for i in range(rows)],
        }
        if name == "c.parquet":
            pq.write_table(pa.table(columns), tmp_path / name)
        else:
            (tmp_path / name).write_text("\n".join(lines[name]))
        tracemalloc.start()
        count = sum(1 for _ in read_manifest(str(tmp_path / name)))
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == rows
        return traced

    assert peak(2000) < 1.5 * peak(500) + 200_000


def test_an_unmatched_quote_in_a_tsv_title_invalidates_no_row(tmp_path: Path) -> None:
    titles = ['"Hello" she said', '"Unclosed', "plain", '5" screen', 'end"']
    rows = "".join(f"{i}\ta.mp4\t{title}\n" for i, title in enumerate(titles))
    items = read(tmp_path, "c.tsv", f"video_id\turi\ttitle\n{rows}")
    assert [item.title for item in items if isinstance(item, CatalogVideo)] == titles


def test_an_unclosed_quote_does_not_consume_rows_recognizable_by_their_uri(tmp_path: Path) -> None:
    text = 'video_id,uri,title\na,a.mp4,"open\nb,b.mp4,good\nc,https://host/c,x"\nd,d.mp4,"one, two,\nthree"\n'
    items = read(tmp_path, "c.csv", text)
    assert ids(items) == ["b", "c", "d"]
    assert "next row begins inside a quoted cell" in problems(items)[0].detail


def test_a_description_as_long_as_a_transcript_is_kept_in_full(tmp_path: Path) -> None:
    (video,) = read(tmp_path, "c.csv", f"video_id,uri,description\na,a.mp4,{'word ' * 40_000}\n")
    assert isinstance(video, CatalogVideo) and len(video.description) == 200_000 - 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "video_id,uri\n101.0,a.mp4\n102.0,a.mp4\n,a.mp4\n"),
        ("c.tsv", "video_id\turi\n101.0\ta.mp4\n102.0\ta.mp4\n\ta.mp4\n"),
        (
            "c.jsonl",
            '{"video_id": 101.0, "uri": "a"}\n{"video_id": 102.0, "uri": "a"}\n{"video_id": NaN, "uri": "a"}\n',
        ),
        ("c.jsonl", '{"video_id": "101.0", "uri": "a"}\n{"video_id": "102.0", "uri": "a"}\n{"uri": "a"}\n'),
    ],
)
def test_ids_converted_to_floats_by_a_data_frame_become_integers_again(tmp_path: Path, name: str, content: str) -> None:
    items = read(tmp_path, name, content)
    assert ids(items) == ["101", "102"]
    assert [problem.row for problem in problems(items)] == [3]


def test_a_malformed_row_does_not_affect_whether_ids_are_floats(tmp_path: Path) -> None:
    items = read(tmp_path, "c.csv", "video_id,uri\n101.0,a.mp4\nbroken\n102.0,a.mp4\n")
    assert ids(items) == ["101", "102"]
    assert [problem.row for problem in problems(items)] == [2]


@pytest.mark.parametrize("written", [["1.0", "1.1"], ["00101.0", "2"], ["1e5"], ["1.10"], ["007"], [" x "]])
def test_ids_that_only_look_like_floats_are_unchanged(tmp_path: Path, written: list[str]) -> None:
    rows = "".join(f"{video_id},a.mp4\n" for video_id in written)
    assert ids(read(tmp_path, "c.csv", f"video_id,uri\n{rows}")) == [video_id.strip() for video_id in written]


def test_parquet_ids_of_every_type_become_text_and_floats_that_lost_digits_are_rejected(tmp_path: Path) -> None:
    for column, expected in (
        (pa.array([101.0, None]), ["101"]),
        (pa.array([101.0, 102.0], pa.float32()), ["101", "102"]),
        (pa.array([Decimal("101.00"), Decimal("1.50")]), ["101", "1.50"]),
        (pa.array([b"101", b"x"]), ["101", "x"]),
        (pa.array(["101.0", "102.0"]).dictionary_encode(), ["101", "102"]),
        (pa.array([1e17, 1.0]), ["1"]),
    ):
        pq.write_table(pa.table({"video_id": column, "uri": ["a.mp4", "a.mp4"]}), tmp_path / "c.parquet")
        items = list(read_manifest(str(tmp_path / "c.parquet")))
        assert ids(items) == expected
        assert len(items) == 2
    assert "too large to represent every digit" in problems(items)[0].detail


def test_extra_columns_of_every_parquet_type_are_accepted_and_binary_ones_are_counted(tmp_path: Path) -> None:
    columns = {
        "video_id": pa.array(["a", "b"]),
        "uri": pa.array(["a.mp4", "a.mp4"]),
        "thumb": pa.array([b"\xff\xd8", None]),
        "image": pa.array([{"bytes": b"\xff", "path": "x"}, None]),
        "length": pa.array([dt.timedelta(seconds=1.5), None]),
        "at": pa.array([dt.time(12), None]),
        "words": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        "half": pa.array([1.5, None], pa.float16()),
        "price": pa.array([Decimal("1.50"), None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    left_out = LeftOut()
    first, second = read_manifest(str(tmp_path / "c.parquet"), left_out)
    assert isinstance(first, CatalogVideo) and isinstance(second, CatalogVideo)
    plain = {"length": 1.5, "at": "12:00:00", "words": '[["k", 1]]', "half": 1.5, "price": 1.5}
    assert first.extra == {"image": '{"bytes": null, "path": "x"}'} | plain
    assert set(second.extra.values()) == {None}
    assert left_out.lines() == ["binary columns: 1 (thumb)"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "video_id;uri\n1;a.mp4\n", "separated by ';': save it with commas"),
        ("c.csv", "video_id\turi\n1\ta.mp4\n", r"separated by '\\t': save it with commas"),
        ("c.tsv", "video_id,uri\n1,a.mp4\n", "separated by ','"),
        ("c.csv", "video_id,uri\n1,a.mp4\n".encode("utf-16"), "is UTF-16"),
        ("c.csv", "video_id,uri\n1,a.mp4\n".encode("utf-16-be"), "is UTF-16"),
        ("c.csv", "vidéo_id,uri\n1,a.mp4\n".encode("latin-1"), "not UTF-8 text"),
        ("c.jsonl", '{"video_id": "1"}'.encode("utf-16"), "is UTF-16"),
        ("c.jsonl", '[{"video_id": "1", "uri": "a"}]', "is a single JSON array. Write one object per line"),
        ("c.jsonl", '[\n{"video_id": "1", "uri": "a"}\n]', "is a single JSON array"),
        ("c.json", "[]", "Write one JSON object per line"),
    ],
)
def test_a_file_in_another_format_raises_an_error_that_explains_how_to_save_it(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(CatalogError, match=message) as error:
        read(tmp_path, name, content)
    assert str(tmp_path / name) in str(error.value)


def test_a_duplicate_parquet_column_raises_an_error(tmp_path: Path) -> None:
    columns = [pa.array(["1"])] * 3
    pq.write_table(pa.Table.from_arrays(columns, ["video_id", "uri", "uri"]), tmp_path / "c.parquet")
    with pytest.raises(CatalogError, match=r"column\(s\) uri more than once"):
        list(read_manifest(str(tmp_path / "c.parquet")))

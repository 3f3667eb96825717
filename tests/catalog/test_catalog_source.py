import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest

from http_servers import Handler, Server, running
from rayreel.catalog import source
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.read import read_catalog
from rayreel.catalog.source import absolute, at_most, is_remote, local_path, open_source, suffix
from rayreel.failures import Reason
from rayreel.remote.config import ReadLimits
from rayreel.remote.copy import copy


def test_a_suffix_is_lower_case_and_ignores_an_https_query() -> None:
    uris = ["/a/b.CSV", "https://host/b.jsonl?sig=x.csv#top", "s3://bucket/b.tsv", "what?.parquet", "/a.b/c"]
    assert [suffix(uri) for uri in uris] == [".csv", ".jsonl", ".tsv", ".parquet", ""]


def test_only_uris_with_a_scheme_other_than_file_are_remote() -> None:
    uris = ["s3://bucket/a", "HTTPS://host/a", "file:///a", "FILE:///a", "/a", "a:b/c", "a"]
    assert [is_remote(uri) for uri in uris] == [True, True, False, False, False, False, False]


def test_a_file_uri_becomes_a_path_unless_it_has_another_host() -> None:
    uris = ["file:///a/b%20c", "file://localhost/a", "/a%20b", "s3://bucket/a"]
    assert [local_path(uri) for uri in uris] == ["/a/b c", "/a", "/a%20b", "s3://bucket/a"]
    with pytest.raises(CatalogError, match="refers to the host 'data'"):
        local_path("file://data/a")


@pytest.mark.parametrize(
    ("uri", "manifest", "expected"),
    [
        ("../b.mp4", "/lists/c.csv", "/b.mp4"),
        ("../../../b.mp4", "https://host/lists/c.csv?sig=1/2", "https://host/b.mp4"),
        ("b.mp4", "s3://bucket/lists/c.csv", "s3://bucket/lists/b.mp4"),
        ("/b.mp4", "s3://bucket/lists/c.csv", "/b.mp4"),
        ("gs://other/b.mp4", "s3://bucket/c.csv", "gs://other/b.mp4"),
    ],
)
def test_a_relative_uri_is_resolved_from_the_manifest_and_stays_on_its_host(
    uri: str, manifest: str, expected: str
) -> None:
    assert absolute(uri, manifest) == expected


def test_an_error_while_reading_a_source_is_not_reported_as_an_error_of_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("x")
    with pytest.raises(FileNotFoundError, match="raised inside"), open_source(str(path)):
        raise FileNotFoundError("raised inside")
    with pytest.raises(CatalogError, match="does not exist"), open_source(f"{path}x"):
        pass


LOCAL = ReadLimits(allowed_hosts=("127.0.0.1",))
SMALL = ReadLimits(max_catalog_bytes=1000, max_catalog_line_bytes=100, max_catalog_rows=10)


def text_of(path: Path, limits: ReadLimits = SMALL) -> str:
    with open_source(str(path), "rt", limits, encoding="utf-8") as file:
        return str(file.read())


def test_a_file_within_the_limits_is_read_unchanged(tmp_path: Path) -> None:
    (path := tmp_path / "c.csv").write_text(content := ("é" * 49 + "\n") * 10, newline="")
    assert text_of(path) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n" * 501, r"c\.csv cannot be read: it has 1,002 bytes, the limit is 1,000 \(limits\.max_catalog_bytes\)"),
        ("a" * 101, r"c\.csv cannot be read: it has a line longer than 100 bytes \(limits\.max_catalog_line_bytes\)"),
    ],
)
def test_a_file_over_a_limit_raises_an_error_with_its_name_the_limit_and_a_remedy(
    tmp_path: Path, content: str, message: str
) -> None:
    (path := tmp_path / "c.csv").write_text(content)
    with pytest.raises(CatalogError, match=message + ".*[Rr]aise the limit"):
        text_of(path)


def test_binary_files_have_no_line_limit(tmp_path: Path) -> None:
    (path := tmp_path / "c.parquet").write_bytes(b"a" * 1000)
    with open_source(str(path), limits=SMALL) as file:
        assert len(file.read()) == 1000
    path.write_bytes(b"a" * 1001)
    with pytest.raises(CatalogError, match="1,001 bytes"), open_source(str(path), limits=SMALL):
        pass


def test_the_number_of_rows_is_limited() -> None:
    assert len(list(at_most(iter(range(10)), SMALL, "c.csv"))) == 10
    with pytest.raises(CatalogError, match=r"c\.csv has more than 10 rows \(limits\.max_catalog_rows\)"):
        list(at_most(iter(range(11)), SMALL, "c.csv"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A local HTTP server from which catalogs may be read."""
    monkeypatch.setattr(source, "copy", partial(copy, schemes=("http",)))
    with running(Server()) as local:
        yield local


def test_an_endless_line_is_rejected_at_the_limit_with_little_memory(server: Server) -> None:
    disconnected = threading.Event()

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"video_id,uri\n")
        try:
            for _ in range(2000):
                handler.wfile.write(b"x" * (1 << 20))
        except OSError:
            disconnected.set()

    server.answers["/c.csv"] = endless
    tracemalloc.start()
    with pytest.raises(CatalogError, match="max_catalog_line_bytes"):
        read_catalog(server.url("/c.csv"), LOCAL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert disconnected.wait(10) and peak < 32 << 20


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.jsonl", "c.parquet"])
def test_errors_never_repeat_the_content_of_a_remote_file(server: Server, name: str) -> None:
    server.content(f"/{name}?sig=hunter2", b"hunter2,SecretAccessKey=hunter2\n{hunter2}\n")
    try:
        catalog = read_catalog(server.url(f"/{name}?sig=hunter2", user="user:hunter2@"), LOCAL)
        messages = [problem.detail for problem in catalog.problems]
    except CatalogError as error:
        messages = [str(error)]
    assert messages and all("hunter2" not in message and f"/{name}" in message for message in messages)


def test_errors_do_not_repeat_cells_of_a_remote_catalog(server: Server) -> None:
    server.content("/c.csv", b"video_id,uri,created_at\na,a.mp4,hunter2\n")
    (problem,) = read_catalog(server.url("/c.csv"), LOCAL).problems
    assert "created_at" in problem.detail and "hunter2" not in problem.detail


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1/c.csv", "https://127.1/c.csv", "https://169.254.169.254/c.csv", "ftp://a.example/c.csv",
     "github://org:repo@main/c.csv", "reference://c.csv", "zip://c.csv::https://a.example/c.csv", "data:text/csv,c.csv",
     "simplecache::https://a.example/c.csv"],
)  # fmt: skip
def test_a_catalog_is_opened_only_from_addresses_allowed_for_videos(uri: str) -> None:
    with pytest.raises(CatalogError, match=r"cannot be opened|does not exist"):
        read_catalog(uri)


def test_a_remote_catalog_cannot_find_out_which_local_files_exist(tmp_path: Path) -> None:
    (tmp_path / "existing.mp4").write_bytes(b"x")
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "b.mp4").write_bytes(b"x")
    (tmp_path / "open" / "out.mp4").symlink_to(tmp_path / "existing.mp4")
    paths = [
        tmp_path / "existing.mp4",
        tmp_path / "absent.mp4",
        tmp_path / "open" / "out.mp4",
        tmp_path / "open" / "b.mp4",
    ]
    with fsspec.open("memory://bucket/c.csv", "w") as file:
        file.write("video_id,uri\n" + "".join(f"{i},{path}\n" for i, path in enumerate(paths)))
    catalog = read_catalog("memory://bucket/c.csv")
    assert [problem.reason for problem in catalog.problems] == [Reason.PATH_NOT_ALLOWED] * 4
    assert len({problem.detail.replace(f"row {i + 1}", "") for i, problem in enumerate(catalog.problems)}) == 1
    catalog = read_catalog("memory://bucket/c.csv", ReadLimits(allowed_roots=(tmp_path / "open",)))
    assert [video.uri for video in catalog.videos] == [str(paths[3])] and len(catalog.problems) == 3


def test_an_api_client_needs_an_allowed_folder_for_a_local_catalog(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"video_id,uri\na,{tmp_path}/a.mp4\n")
    limits = ReadLimits(from_outside=True)
    for name in ("c.csv", "absent.csv"):
        with pytest.raises(CatalogError, match="API clients may not read"):
            read_catalog(tmp_path / name, limits)
    assert len(read_catalog(tmp_path / "c.csv", limits.model_copy(update={"allowed_roots": (tmp_path,)})).problems) == 1

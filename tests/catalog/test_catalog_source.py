from pathlib import Path

import pytest

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.source import absolute, is_remote, local_path, open_source, suffix


def test_a_suffix_is_found_in_any_case_and_before_an_https_query() -> None:
    uris = ["/a/b.CSV", "https://host/b.jsonl?sig=x.csv#top", "s3://bucket/b.tsv", "what?.parquet", "/a.b/c"]
    assert [suffix(uri) for uri in uris] == [".csv", ".jsonl", ".tsv", ".parquet", ""]


def test_only_a_scheme_other_than_file_is_remote() -> None:
    uris = ["s3://bucket/a", "HTTPS://host/a", "file:///a", "FILE:///a", "/a", "a:b/c", "a"]
    assert [is_remote(uri) for uri in uris] == [True, True, False, False, False, False, False]


def test_a_file_uri_becomes_a_plain_path_unless_it_names_another_machine() -> None:
    uris = ["file:///a/b%20c", "file://localhost/a", "/a%20b", "s3://bucket/a"]
    assert [local_path(uri) for uri in uris] == ["/a/b c", "/a", "/a%20b", "s3://bucket/a"]
    with pytest.raises(CatalogError, match="names the machine 'data'"):
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
def test_a_relative_uri_counts_from_the_manifest_and_never_leaves_its_host(
    uri: str, manifest: str, expected: str
) -> None:
    assert absolute(uri, manifest) == expected


def test_an_error_while_a_source_is_read_is_not_one_of_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("x")
    with pytest.raises(FileNotFoundError, match="mine"), open_source(str(path)):
        raise FileNotFoundError("mine")
    with pytest.raises(CatalogError, match="There is no file"), open_source(f"{path}x"):
        pass

"""Removal of secrets from URLs in texts."""

import pytest

from rayreel.catalog.problem import CatalogError, RowProblem
from rayreel.failures import Reason, Rejected
from rayreel.redact import public_address, redacted

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@host.example/a.csv row 3",
        f"https://{SECRET}@host.example/a.csv",
        f"https://user:pa/{SECRET}@host.example/a.csv",
        f"HTTPS://user:{SECRET}@host.example/a.csv",
        f"https:\\\\user:{SECRET}@host.example/a.csv",
        f"//user:{SECRET}@host.example/a.csv",
        f"simplecache::https://user:{SECRET}@host.example/a.csv",
        f"s3://AKIA:{SECRET}@bucket/a.csv cannot be opened",
        f"https://host.example/a.mp4?X-Amz-Credential=AKIA&X-Amz-Signature={SECRET}",
        f"https://host.example/a.mp4?sv=2024-01-01&sig={SECRET}: HTTP 403",
        f"'https://host.example/a.mp4?{SECRET}'",
        f"https://host.example/a.mp4#access_token={SECRET}",
        f"https://host.example/a b.mp4?X-Amz-Signature={SECRET}",
        f"clips/a.mp4?sig={SECRET} is missing",
        f"one https://a.example/x?k={SECRET} and two https://b:{SECRET}@c.example/y",
    ],
)
def test_secrets_are_removed_from_urls(text: str) -> None:
    assert SECRET not in redacted(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://u:p@host.example:8443/a/b.csv?x=1 row 3.", "https://host.example:8443/a/b.csv?… row 3."),
        ("(https://host.example/a?x=1).", "(https://host.example/a?…)."),
        ("https://host.example/@user/a.mp4", "https://host.example/@user/a.mp4"),
        ("s3://bucket/a/b.mp4: no such object", "s3://bucket/a/b.mp4: no such object"),
        ("open http://localhost:8000/docs", "open http://localhost:8000/docs"),
        ("/data/a@b/what? no.mp4", "/data/a@b/what? no.mp4"),
        ("expected part.key=value, such as train.epochs=5", "expected part.key=value, such as train.epochs=5"),
    ],
)
def test_the_rest_of_a_text_is_unchanged(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "piece", ["a", "a.", "&", "?", "#", "?#", "?a=", "/", "//", ":", ":/", "://", ".", ")", "@", "a@", "%25"]
)
def test_redaction_of_untrusted_text_takes_linear_time(piece: str) -> None:
    for text in (piece * 500_000, f"https://{piece * 500_000}x", f"https://a/?{piece * 500_000}x"):
        redacted(text)


def test_a_public_url_has_no_query_and_a_path_is_unchanged() -> None:
    assert public_address(f"https://u:{SECRET}@host.example/a.mp4?sig={SECRET}#x") == "https://host.example/a.mp4"
    assert public_address("/data/what? #1.mp4") == "/data/what? #1.mp4"


def test_errors_rejections_and_problems_do_not_contain_secrets() -> None:
    uri = f"https://user:{SECRET}@host.example/a.csv?sig={SECRET}"
    made = (
        CatalogError(f"{uri} cannot be opened."),
        Rejected(Reason.UNREACHABLE, f"{uri}: HTTP 403"),
        RowProblem(1, "a", "a.mp4", Reason.INVALID_ROW, f"{uri} row 1: uri is empty."),
    )
    for one in made:
        assert SECRET not in str(one) and "https://host.example/a.csv?…" in str(one)

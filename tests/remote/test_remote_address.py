"""Parsing of URLs, including misleading ones."""

import pytest

from rayreel.remote.address import BadAddress, parse_address, plain_host


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("https://Host.Example/a b.mp4?x=1#top", ("https", "host.example", 443, "/a%20b.mp4?x=1")),
        ("HTTPS://host.example:8443", ("https", "host.example", 8443, "/")),
        ("https://host.example?x", ("https", "host.example", 443, "/?x")),
        ("https://host.example/a%20b/é", ("https", "host.example", 443, "/a%20b/%C3%A9")),
        ("https://bücher.example./a", ("https", "xn--bcher-kva.example", 443, "/a")),
        ("https://[2606:4700:0::1111]/a", ("https", "2606:4700::1111", 443, "/a")),
        ("https://good.example@evil.example/a", ("https", "evil.example", 443, "/a")),
        ("https://good.example#@evil.example/a", ("https", "good.example", 443, "/")),
        ("https://host.example/a@evil.example", ("https", "host.example", 443, "/a@evil.example")),
        ("s3://my-bucket/a b?#é.mp4", ("s3", "my-bucket", 0, "a b?#é.mp4")),
    ],
)
def test_a_url_is_parsed_into_unambiguous_parts(uri: str, parts: tuple[str, str, int, str]) -> None:
    address = parse_address(uri)
    assert (address.scheme, address.host, address.port, address.target) == parts


def test_the_url_of_an_address_has_no_credentials() -> None:
    address = parse_address("https://user:secret@host.example/a")
    assert address.credentials == "user:secret"
    assert "secret" not in address.url and "secret" not in address.netloc


@pytest.mark.parametrize(
    "uri",
    [
        "https://good.example\\@evil.example/a",
        "https:\\\\host.example/a",
        "https://a@b@host.example/a",
        "https://host.example:0/a",
        "https://host.example:99999/a",
        "https://host.example:80:90/a",
        "https://host%2eexample/a",
        "https://%31%32%37.0.0.1/a",
        "https://host.example\t/a",
        "https://host.example/a\r\nHost: evil.example",
        "https://host .example/a",
        "https://-host.example/a",
        "https://host..example/a",
        "https:///a",
        "https:host.example/a",
        "//host.example/a",
        "ftp://host.example/a",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://user:secret@bucket/key",
        "s3://bucket:80/key",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/key",
        "gs://..bucket/key",
        "s3://bucket/" + "%25" * 400,
        "https://host.example/" + "a" * 9000,
        "https://" + "a." * 5000,
        "https://" + "\u00fc" * 5000 + ".example",
    ],
)
def test_an_invalid_or_ambiguous_url_is_rejected(uri: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(uri)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "127.0.0.1.",
        "8.8.8.8.",
        "127.0.0.256",
        "1.2.3.4.5",
        "a.1",
        "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "\uff4cocalhost",
        "[::1",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[::ffff:127.0.0.1%1]",
        "[::ffff:0177.0.0.1]",
        "[1::2::3]",
        "",
    ],
)
def test_a_host_that_is_not_in_canonical_form_is_rejected(host: str) -> None:
    with pytest.raises(BadAddress):
        plain_host(host)

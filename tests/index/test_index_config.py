from pydantic import SecretStr

from rayreel.index.config import IndexConfig, resolve

ENVIRONMENT = {"MILVUS_URI": "http://milvus:19530", "MILVUS_TOKEN": "root:secret"}


def test_an_empty_address_is_filled_from_the_environment() -> None:
    resolved = resolve(IndexConfig(), ENVIRONMENT)
    assert (resolved.uri, resolved.token.get_secret_value()) == ("http://milvus:19530", "root:secret")


def test_a_configured_address_overrides_the_environment() -> None:
    config = IndexConfig(uri="http://mine:1", token=SecretStr("mine"))
    assert resolve(config, ENVIRONMENT) == config


def test_without_environment_the_address_stays_empty_for_milvus_lite() -> None:
    assert resolve(IndexConfig(), {}).uri == ""


def test_the_printed_configuration_does_not_contain_the_token() -> None:
    assert "secret" not in repr(resolve(IndexConfig(), ENVIRONMENT))

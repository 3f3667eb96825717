import pytest

from rayreel.settings import SettingsError, load_settings

CPU_POOL = {"rayreel.io/pool": "cpu"}


def test_by_default_work_runs_on_any_node() -> None:
    settings = load_settings()
    extract, release = settings.extract, settings.release
    placed = (extract.decode_on, extract.encode_on, settings.train.on, settings.action.on)
    assert not any((*placed, release.read_on, release.embed_on))


def test_node_labels_are_read_from_variables_as_json_and_from_set_as_yaml(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAYREEL_EXTRACT__DECODE_ON", '{"rayreel.io/pool": "cpu"}')
    settings = load_settings(sets=["train.on={rayreel.io/pool: '!in(cpu, head)'}"])
    assert settings.extract.decode_on == CPU_POOL
    assert settings.train.on == {"rayreel.io/pool": "!in(cpu, head)"}


@pytest.mark.parametrize("labels", ["{rayreel.io/pool: a b}", "{-pool: cpu}", "{pool: in()}", "cpu"])
def test_invalid_node_labels_are_rejected_before_anything_runs(labels: str) -> None:
    with pytest.raises(SettingsError, match=r"extract\.decode_on"):
        load_settings(sets=[f"extract.decode_on={labels}"])

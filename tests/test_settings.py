import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from rayreel.encoders.trained import UnknownEncoder
from rayreel.errors import RayreelError
from rayreel.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _without_rayreel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RAYREEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("storage: /from/file\ntrain: {epochs: 7, batch_size: 64}\n")
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_defaults_apply_without_any_source() -> None:
    assert load_settings() == Settings()
    assert load_settings().storage == "storage"


def test_the_file_overrides_the_defaults(file: Path) -> None:
    settings = load_settings(file)
    assert (settings.storage, settings.train.epochs, settings.train.batch_size) == ("/from/file", 7, 64)


def test_a_variable_overrides_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYREEL_TRAIN__EPOCHS", "8")
    monkeypatch.setenv("RAYREEL_STORAGE", "/from/env")
    settings = load_settings(file)
    assert (settings.storage, settings.train.epochs, settings.train.batch_size) == ("/from/env", 8, 64)


def test_set_overrides_the_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYREEL_TRAIN__EPOCHS", "8")
    monkeypatch.setenv("RAYREEL_STORAGE", "/from/env")
    settings = load_settings(file, ["train.epochs=9"], storage="/from/option")
    assert (settings.storage, settings.train.epochs, settings.train.batch_size) == ("/from/option", 9, 64)


def test_setting_one_value_of_a_part_keeps_the_others() -> None:
    expected = Settings().train.model_copy(update={"epochs": 3})
    assert load_settings(sets=["train.epochs=3"]).train == expected


def test_the_last_of_two_sets_wins_and_other_values_are_kept() -> None:
    train = load_settings(sets=["train.epochs=3", "train.batch_size=8", "train.epochs=4"]).train
    assert (train.epochs, train.batch_size) == (4, 8)


def test_a_part_can_be_set_completely_and_then_partly_overridden() -> None:
    train = load_settings(sets=["train={epochs: 3, batch_size: 8}", "train.epochs=4"]).train
    assert (train.epochs, train.batch_size) == (4, 8)


def test_values_are_read_as_yaml() -> None:
    settings = load_settings(sets=["train.use_gpu=null", "train.learning_rate=1e-3", "storage=a=b"])
    assert settings.train.use_gpu is None
    assert settings.train.learning_rate == 0.001
    assert settings.storage == "a=b"


def test_a_range_of_workers_is_not_read_as_a_base_60_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(sets=["train.workers=1:4"]).train.workers == "1:4"
    assert load_settings(written(tmp_path / "c.yaml", "train: {workers: 1:4}")).train.workers == "1:4"
    monkeypatch.setenv("RAYREEL_TRAIN__WORKERS", "1:4")
    assert load_settings().train.workers == "1:4"
    monkeypatch.setenv("RAYREEL_TRAIN__WORKERS", "3")
    assert load_settings().train.workers == 3


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("-3", -3), ("0x10", 16), ("1_000", 1000), ("0", 0)])
def test_integers_are_read_as_in_yaml_1_1(text: str, number: int) -> None:
    assert load_settings(sets=[f"train.seed={text}"]).train.seed == number


def test_reading_the_settings_imports_no_heavy_library() -> None:
    """Each part's `config.py` is imported by every command, replica and worker before it knows what it needs."""
    program = """
import importlib, pathlib, sys, rayreel
folder = pathlib.Path(rayreel.__file__).parent
configs = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in folder.rglob("config.py")]
assert len(configs) > 10
for name in [*configs, "rayreel.settings"]:
    importlib.import_module(name)
print(*sorted({"torch", "ray", "pyarrow", "pymilvus", "mlflow", "av", "scipy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_model_of_the_settings_is_in_the_config_of_its_part() -> None:
    models = [field.annotation for field in Settings.model_fields.values()]
    wrong = [
        model.__name__
        for model in models
        if isinstance(model, type) and issubclass(model, BaseModel)
        if not model.__module__.endswith(".config")
    ]
    assert not wrong


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().storage = "elsewhere"  # type: ignore[misc] # what this test tries


def test_other_variables_with_the_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYREEL_GIT_COMMIT", "abc")
    assert load_settings() == Settings()


@pytest.mark.parametrize("source", ["file", "variable", "set"])
def test_an_unknown_setting_is_reported_with_the_known_ones(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "c.yaml", "train: {epocs: 3}") if source == "file" else None
    if source == "variable":
        monkeypatch.setenv("RAYREEL_TRAIN__EPOCS", "3")
    with pytest.raises(SettingsError, match=r"no setting train\.epocs\. Known settings: recipe, refit, epochs"):
        load_settings(file, ["train.epocs=3"] if source == "set" else [])


def test_an_unknown_part_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no setting trian\. Known settings: storage, .*train"):
        load_settings(sets=["trian.epochs=3"])


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(SettingsError, match="batch_size = 0") as caught:
        load_settings(sets=["train.epocs=3", "train.batch_size=0"])
    assert "train.epocs" in str(caught.value)


def test_an_invalid_value_is_reported_with_its_setting_and_the_reason() -> None:
    with pytest.raises(SettingsError, match=r"train\.epochs = 'many': .*integer"):
        load_settings(sets=["train.epochs=many"])
    with pytest.raises(SettingsError, match=r"train\.epochs = 0: .*greater than or equal to 1"):
        load_settings(sets=["train.epochs=0"])


def test_fewer_seconds_of_sound_than_one_window_are_rejected() -> None:
    with pytest.raises(
        SettingsError, match=r"sampling\.audio_first_s = 1: .*set sampling\.audio_window_s to 1 or less"
    ):
        load_settings(sets=["sampling.audio_first_s=1"])
    assert load_settings(sets=["sampling.audio_first_s=1", "sampling.audio_window_s=1"]).sampling.audio_first_s == 1


def test_an_unknown_encoder_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UnknownEncoder, match="mobilenet_v2"):
        load_settings(sets=["encoders.visual=resnet51"])


@pytest.mark.parametrize("item", ["train.epochs", "=3", ""])
def test_a_set_without_name_or_value_is_reported_with_an_example(item: str) -> None:
    with pytest.raises(SettingsError, match=r"expected part\.key=value, such as train\.epochs=5"):
        load_settings(sets=[item])


def test_a_set_with_invalid_yaml_is_quoted() -> None:
    with pytest.raises(SettingsError, match=r"--set train\.epochs=\[: '\[' is not valid YAML"):
        load_settings(sets=["train.epochs=["])


def test_a_set_below_a_scalar_is_rejected() -> None:
    with pytest.raises(SettingsError, match=r"--set train\.epochs=3: an earlier --set gives train the value 5"):
        load_settings(sets=["train=5", "train.epochs=3"])


def test_a_missing_config_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config .*nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")
    with pytest.raises(SettingsError, match="--config"):
        load_settings(tmp_path)


@pytest.mark.parametrize("content", ["train: [", "- a\n- b\n", "5", b"\xff\xfe\x00"])
def test_a_file_without_settings_is_reported(content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config .*c\.yaml"):
        load_settings(written(tmp_path / "c.yaml", content))


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path / "c.yaml", "# nothing yet\n")) == Settings()


def test_a_variable_with_a_scalar_for_a_part_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYREEL_TRAIN", "fast")
    with pytest.raises(SettingsError, match=r'"train".*RAYREEL_TRAIN__EPOCHS=5'):
        load_settings()


def test_weights_are_stored_below_the_storage_root_by_default(tmp_path: Path) -> None:
    assert load_settings(storage=str(tmp_path)).weights_cache == tmp_path / "weights"
    assert load_settings(sets=["encoders.cache_dir=/w"]).weights_cache == Path("/w")


def test_on_an_object_store_the_weights_need_a_configured_folder() -> None:
    settings = load_settings(storage="s3://bucket/x?region=eu-west-1")
    with pytest.raises(RayreelError, match=r"encoders\.cache_dir"):
        _ = settings.weights_cache
    assert settings.milvus_dir is None


@pytest.mark.parametrize("root", ["storage", "./here", "../there"])
def test_a_ray_job_rejects_a_storage_root_that_is_deleted_with_it(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(SettingsError, match=r"--storage /path/to/storage.*RAYREEL_STORAGE"):
        load_settings(storage=root)


@pytest.mark.parametrize("root", ["/mnt/storage", "~/storage", "s3://bucket/prefix"])
def test_a_ray_job_accepts_a_permanent_storage_root(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setenv("RAYREEL_STORAGE", root)
    assert load_settings().storage == root

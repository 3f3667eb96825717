"""`rayreel dataset`, with downloads from a web server on this machine."""

import functools
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from http_servers import Server, running
from rayreel.catalog.download import RemoteFile
from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.read import read_catalog
from rayreel.cli.dataset import app
from rayreel.cli.steps import downloads
from rayreel.errors import RayreelError

PAIRS = """user,item,timestamp
1,3,1583378629001
2,3,1583378629002
2,1,1583378629003
3,1,1583378629004
3,2,1583378629005
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The authors' site with three items; the video of the third is missing."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = tmp_path / "site" / "MicroLens-50k-Dataset"
    (root / "MicroLens-50k_videos").mkdir(parents=True)
    (root / "MicroLens-50k_pairs.csv").write_text(PAIRS)
    (root / "MicroLens-50k_titles.csv").write_text("item,title\n1,One\n2,Two\n3,Three\n")
    for item in (1, 2):
        (root / "MicroLens-50k_videos" / f"{item}.mp4").write_bytes(bytes([item]) * 1000)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root.parent)) as web:
        threading.Thread(target=web.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def start(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, RayreelError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_microlens_is_downloaded_and_becomes_a_catalog_and_interactions(site: str, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    start("microlens", "--download", "--site", site, "--data", data, "--out", out)
    catalog = read_catalog(out / "catalog.csv")
    assert [(video.video_id, video.title) for video in catalog.videos] == [("1", "One"), ("2", "Two")]
    assert not catalog.problems
    assert Path(catalog.videos[0].uri).read_bytes() == b"\1" * 1000
    assert read_interactions(out / "interactions.csv")["video_id"].to_pylist() == ["1", "1", "2"]


def test_max_videos_downloads_only_the_most_watched(site: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    start("microlens", "--download", "--site", site, "--data", data, "--out", tmp_path / "out", "--max-videos", 2)
    # The two most watched are 1 and 3; 3 is missing on the site.
    assert {path.name for path in (data / "MicroLens-50k_videos").iterdir()} == {"1.mp4", "SHA256SUMS"}
    assert len(read_catalog(tmp_path / "out" / "catalog.csv").videos) == 1


def test_a_second_download_fetches_nothing_again(site: str, tmp_path: Path) -> None:
    words = ("microlens", "--download", "--site", site, "--data", tmp_path / "data", "--out", tmp_path / "out")
    start(*words)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    start(*words)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


def test_ucf101_becomes_a_catalog_with_sources_and_splits(tmp_path: Path) -> None:
    for name in ("Archery/v_Archery_g01_c01", "Archery/v_Archery_g02_c01", "Bowling/v_Bowling_g01_c01"):
        (path := tmp_path / "UCF-101" / f"{name}.avi").parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (lists := tmp_path / "ucfTrainTestlist").mkdir()
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g02_c01.avi 1\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\nBowling/v_Bowling_g01_c01.avi\n")
    start("ucf101", "--data", tmp_path, "--out", tmp_path / "out", "--classes", "Archery")
    videos = read_catalog(tmp_path / "out" / "catalog.csv").videos
    assert [(video.category, video.extra) for video in videos] == [
        ("Archery", {"source": "v_Archery_g01", "split": "test"}),
        ("Archery", {"source": "v_Archery_g02", "split": "train"}),
    ]


def test_a_part_of_ucf101_is_downloaded_and_split_by_group_if_the_lists_are_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("RAYREEL_LIMITS__ALLOWED_HOSTS", '["127.0.0.1"]')
    names = [f"v_{name}_g{group:02d}_c01.avi" for name in ("Archery", "Bowling") for group in (1, 9, 16)]
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(f"UCF101/{name}", name)
    with running(Server()) as server:
        server.answers["/lists.zip"] = lambda handler: handler.send(404, b"")
        monkeypatch.setattr(downloads, "SPLITS", RemoteFile(server.url("/lists.zip")))
        server.ranges("/set.zip", content.getvalue())
        words = (
            "--data",
            tmp_path,
            "--out",
            tmp_path,
            "--download",
            "--archive",
            server.url("/set.zip"),
            "--max-clips",
            2,
        )
        result = start("ucf101", *words, "--max-classes", 1, "--fold", 2)
    assert "by group number" in result.output and "lists.zip" in result.output
    videos = read_catalog(tmp_path / "catalog.csv").videos
    assert [(video.video_id, video.extra["split"]) for video in videos] == [
        ("v_Archery_g01_c01", "train"),
        ("v_Archery_g09_c01", "test"),
    ]
    assert Path(videos[1].uri).read_text() == "v_Archery_g09_c01.avi"


def test_movielens_becomes_interactions_and_a_table_of_items(tmp_path: Path) -> None:
    inter, item = tmp_path / "ml.inter", tmp_path / "ml.item"
    inter.write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t4\t881250949\n")
    item.write_text("item_id:token\tmovie_title:token_seq\tclass:token_seq\n7\tCats\tMusical Drama\n")
    result = start("movielens", "--inter", inter, "--item", item, "--out", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["counts"]["users"] == 1 and "Next:" in result.stderr
    assert read_interactions(tmp_path / "out" / "interactions.csv").equals(read_interactions(inter))
    assert pq.read_table(tmp_path / "out" / "items.parquet")["tags"].to_pylist() == [["Musical", "Drama"]]


def test_data_and_output_are_below_the_storage_root_by_default(site: str, tmp_path: Path) -> None:
    start("microlens", "--download", "--site", site, "--storage", tmp_path / "storage")
    assert (tmp_path / "storage" / "datasets" / "microlens-50k" / "catalog.csv").exists()


def test_a_missing_data_set_is_reported_with_the_option_that_downloads_it(tmp_path: Path) -> None:
    for name in ("microlens", "ucf101"):
        with pytest.raises(CatalogError, match="--download"):
            start(name, "--data", tmp_path)

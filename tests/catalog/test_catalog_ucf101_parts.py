"""Chosen clips of a small UCF101, read from a zip file on a local server."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from http_servers import Handler, Server, running
from moving import write_moving
from rayreel.catalog import ucf101_parts
from rayreel.catalog.download import DownloadFailed, RemoteFile, WrongFile
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.subset import Subset
from rayreel.catalog.ucf101 import clip_name, read_ucf101, side_of_group
from rayreel.catalog.ucf101_parts import fetch_clips
from rayreel.remote.config import ReadLimits

HERE = ReadLimits(allowed_hosts=("127.0.0.1",))
CLASSES = ("Archery", "Bowling", "HandStandPushups")
GROUPS, EACH, SIZE = 25, 4, 3000


def zipped(contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(f"UCF101/{name}.avi", content)
        archive.writestr("UCF101/../../escaped.avi", b"")
        archive.writestr("UCF101/v_.._g01_c01.avi", b"escaped")
        archive.writestr("UCF101/readme.txt", b"")
    return file.getvalue()


def clips() -> dict[str, bytes]:
    generator = random.Random(0)
    places = [(name, group, cut) for name in CLASSES for group in range(1, GROUPS + 1) for cut in range(1, EACH + 1)]
    return {f"v_{name}_g{group:02d}_c{cut:02d}": generator.randbytes(SIZE) for name, group, cut in places}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("rayreel.remote.ranges._PAUSE_S", 0.001)
    monkeypatch.setattr(ucf101_parts, "_MOST_BYTES", 200_000)
    with running(Server()) as server:
        yield server


def test_only_the_chosen_clips_are_transferred(server: Server, tmp_path: Path) -> None:
    server.ranges("/set.zip", archive := zipped(clips()))
    fetched = fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(("Archery",), max_clips=3), HERE)
    assert fetched == [f"Archery/v_Archery_g0{group}_c01" for group in (1, 2, 3)]
    assert {path.stem: path.read_bytes() for path in tmp_path.rglob("*.*")} == {
        name: content for name, content in clips().items() if f"Archery/{name}" in fetched
    }
    parts = [header["range"] for header in server.headers]
    assert len(parts) <= 5, "two for the directory, one for each clip"
    assert len(archive) > 20 * 3 * SIZE


def test_generated_clips_can_be_decoded(server: Server, tmp_path: Path) -> None:
    films = {f"v_Down_g{group:02d}_c01": write_moving(tmp_path / f"{group}.avi", "down", group) for group in (1, 8)}
    archive = zipped({name: path.read_bytes() for name, path in films.items()}, zipfile.ZIP_DEFLATED)
    server.ranges("/set.zip", archive)
    fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path / "UCF-101", Subset(), HERE)
    found = read_ucf101(tmp_path / "UCF-101")
    assert [video.extra["split"] for video in found.videos] == ["test", "train"]
    with av.open(found.videos[0].uri) as film:
        assert sum(1 for _ in film.decode(video=0)) == 24


def test_a_killed_download_continues_with_the_missing_clips(server: Server, tmp_path: Path) -> None:
    server.ranges("/set.zip", zipped(clips()))
    source, subset = RemoteFile(server.url("/set.zip")), Subset(max_classes=1, max_clips=4)

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_clips(source, tmp_path, subset, HERE, progress=stop)
    (tmp_path / "Archery" / "v_Archery_g03_c01.avi.part").write_bytes(b"half of")
    asked = len(server.asked)
    counts: list[tuple[int, int]] = []
    fetched = fetch_clips(source, tmp_path, subset, HERE, progress=lambda *count: counts.append(count))
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(server.asked) - asked <= 4, "two for the directory, one for each missing clip"
    expected = clips()
    assert [(tmp_path / f"{name}.avi").read_bytes() for name in fetched] == [
        expected[name.partition("/")[2]] for name in fetched
    ]
    assert not list(tmp_path.rglob("*.part"))


def test_a_changed_clip_is_reported_and_not_replaced(server: Server, tmp_path: Path) -> None:
    server.ranges("/set.zip", zipped(clips()))
    source, subset = RemoteFile(server.url("/set.zip")), Subset(max_classes=1, max_clips=1)
    (name,) = fetch_clips(source, tmp_path, subset, HERE)
    (path := tmp_path / f"{name}.avi").write_bytes(bytes(SIZE))
    with pytest.raises(WrongFile, match=r"v_Archery_g01_c01\.avi differs from .* Delete the file"):
        fetch_clips(source, tmp_path, subset, HERE)
    assert path.read_bytes() == bytes(SIZE)


def test_a_damaged_clip_is_not_kept(server: Server, tmp_path: Path) -> None:
    archive = bytearray(zipped(clips()))
    archive[200] ^= 1
    server.ranges("/set.zip", bytes(archive))
    with pytest.raises(WrongFile, match=r"/set\.zip is damaged.*CRC.*--archive"):
        fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(max_classes=1, max_clips=1), HERE)
    assert not list(tmp_path.rglob("*.avi"))


def test_a_server_without_ranges_is_reported_once_with_its_url_and_what_to_do(server: Server, tmp_path: Path) -> None:
    server.content("/set.zip", zipped(clips()))
    url = server.url("/set.zip")
    with pytest.raises(DownloadFailed, match=rf"{url}: the server does not support range requests\..*--archive"):
        fetch_clips(RemoteFile(url), tmp_path, Subset(), HERE)
    assert len(server.asked) == 1


def test_a_zip_file_on_this_machine_needs_no_server(tmp_path: Path) -> None:
    (path := tmp_path / "set.zip").write_bytes(zipped(clips()))
    assert len(fetch_clips(RemoteFile(str(path)), tmp_path / "out", Subset(max_clips=2), HERE)) == 6
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"Archery", "Bowling", "HandstandPushups"}
    assert not list(tmp_path.glob("*.avi"))
    with pytest.raises(DownloadFailed, match=r"absent\.zip: No such file.*--archive"):
        fetch_clips(RemoteFile(str(tmp_path / "absent.zip")), tmp_path / "out", Subset(), HERE)


def test_a_web_page_instead_of_the_archive_is_reported(server: Server, tmp_path: Path) -> None:
    server.ranges("/set.zip", b"<html>" * 100)
    with pytest.raises(WrongFile, match="is damaged or not a zip file"):
        fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(), HERE)


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    archive = zipped(clips())

    def answer(handler: Handler) -> None:
        handler.send(503, b"") if len(server.asked) % 2 else handler.send_part(archive)

    server.answers["/set.zip"] = answer
    assert len(fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(max_clips=1), HERE)) == 3


@pytest.mark.parametrize(
    ("published", "limits", "message"),
    [
        (1234, HERE, "bytes, expected 1,234"),
        (None, ReadLimits(), "127.0.0.1 is not an allowed host; add it to limits.allowed_hosts"),
    ],
)
def test_another_size_and_a_private_host_are_refused(
    server: Server, tmp_path: Path, published: int | None, limits: ReadLimits, message: str
) -> None:
    server.ranges("/set.zip", zipped(clips()))
    with pytest.raises(DownloadFailed, match=message):
        fetch_clips(RemoteFile(server.url("/set.zip"), size=published), tmp_path, Subset(), limits)


def test_a_redirect_to_a_private_host_is_not_followed(server: Server, tmp_path: Path) -> None:
    with running(Server()) as inside:
        server.redirect("/set.zip", ("Location", inside.url("/set.zip", host="localhost")))
        with pytest.raises(DownloadFailed, match="localhost is not an allowed host"):
            fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(), HERE)
        assert not inside.asked


def test_a_directory_that_claims_to_be_huge_is_not_read(server: Server, tmp_path: Path) -> None:
    archive = bytearray(zipped(clips()))
    at = archive.rfind(b"PK\5\6") + 12
    archive[at : at + 4] = (len(archive) - 1000).to_bytes(4, "little")
    server.ranges("/set.zip", bytes(archive))
    with pytest.raises(DownloadFailed, match="the limit is 200,000"):
        fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(), HERE)


def test_a_clip_that_claims_to_be_huge_is_not_read(server: Server, tmp_path: Path) -> None:
    server.ranges("/set.zip", zipped({"v_Archery_g01_c01": bytes(300_000)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(WrongFile, match=r"v_Archery_g01_c01\.avi has 300,000 bytes"):
        fetch_clips(RemoteFile(server.url("/set.zip")), tmp_path, Subset(), HERE)


def test_clips_are_chosen_evenly_over_the_groups_and_the_same_each_time() -> None:
    names = [name for file in clips() if (name := clip_name(f"{file}.avi"))]
    chosen = Subset(max_classes=2, max_clips=50).choose(reversed(names))
    assert len(chosen) == 100 and {name.partition("/")[0] for name in chosen} == {"Archery", "Bowling"}
    groups = [name.rpartition("_")[0] for name in chosen]
    assert {groups.count(group) for group in groups} == {2}
    sides = [side_of_group(int(group[-2:]), 1) for group in groups]
    assert (sides.count("train"), sides.count("test")) == (72, 28)
    assert Subset(max_classes=2, max_clips=50).choose(chosen) == chosen
    assert Subset(max_classes=2, max_clips=50).choose([*names[:250], *chosen]) == chosen


def test_an_unknown_class_is_reported_with_those_that_exist() -> None:
    with pytest.raises(CatalogError, match=r"no class Chess\. Choose from Archery\."):
        Subset(("Chess",)).choose(["Archery/v_Archery_g01_c01"])

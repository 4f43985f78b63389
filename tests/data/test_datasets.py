"""Named sets: where they are looked for, how they are fetched and verified; and data sets by path."""

import gc
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import warnings
import zipfile
from pathlib import Path

import pytest

from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets, named
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

TRAIN, TEST = b"0 1 2\n1 2\n13 0\n", b"0 0\n1\n13 1\n"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def tiny(monkeypatch):
    """A named set of two files."""
    tiny = named._lightgcn_dataset("tiny", "adjacency", ("train.txt", sha256(TRAIN)), ("test.txt", sha256(TEST)))
    monkeypatch.setitem(named.NAMED, "tiny", tiny)
    monkeypatch.delenv(named.ENVIRONMENT, raising=False)


def put(folder: Path, train: bytes = TRAIN, test: bytes = TEST) -> Path:
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "train.txt").write_bytes(train)
    (folder / "tiny" / "test.txt").write_bytes(test)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server that serves a folder, which is returned, where the named sets are published."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "web"))

        def log_message(self, *arguments):
            pass

    (tmp_path / "web").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(named, "_LIGHTGCN", f"http://127.0.0.1:{running.server_address[1]}")
        yield tmp_path / "web"
        running.shutdown()
    with warnings.catch_warnings():  # pooch leaves the connection of a failed download to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def load(data_dir: Path):
    return datasets.load(DataSettings(dataset="tiny", data_dir=str(data_dir)))


def refusal(config: Config) -> str:
    with pytest.raises(InputError) as error:
        datasets.load(config.data)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_data_dir_comes_before_the_environment(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(named.ENVIRONMENT, str(put(tmp_path / "elsewhere", train=b"broken")))
    found = load(put(tmp_path / "here"))
    assert (found.num_users, found.num_items, found.train.nnz, found.test.nnz) == (3, 3, 4, 2)
    assert found.summary()["users listed without an item"] == 1


def test_the_environments_folder_is_used_and_nothing_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(named.ENVIRONMENT, str(put(tmp_path / "elsewhere")))
    assert load(tmp_path / "here").name == "tiny"
    assert not (tmp_path / "here").exists()


def test_a_missing_set_is_fetched_and_kept(tiny, tmp_path, server):
    put(server)
    assert load(tmp_path / "data").train.nnz == 4
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == ["test.txt", "tiny", "train.txt"]
    assert (tmp_path / "data" / "tiny" / "train.txt").read_bytes() == TRAIN


def test_a_download_that_is_not_the_published_file_is_removed(tiny, tmp_path, server):
    put(server, train=b"0 1 2 3\n")
    message = refusal(Config.of(dataset="tiny", data_dir=str(tmp_path / "data")))
    assert "the download of train.txt" in message
    assert sha256(TRAIN).partition(":")[2] in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web"]


def test_a_failed_download_says_why_and_leaves_nothing(tiny, tmp_path, server):
    message = refusal(Config.of(dataset="tiny", data_dir=str(tmp_path / "data")))
    assert "HTTPError: 404" in message
    assert named.ENVIRONMENT in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web"]


def test_a_file_that_lies_there_with_another_hash_is_refused_and_kept(tiny, tmp_path):
    put(tmp_path, test=b"0 2\n")
    message = refusal(Config.of(dataset="tiny", data_dir=str(tmp_path)))
    assert message.startswith(str(tmp_path / "tiny" / "test.txt"))
    for digest in (sha256(b"0 2\n"), sha256(TEST)):
        assert digest.partition(":")[2] in message
    assert (tmp_path / "tiny" / "test.txt").exists()


def test_git_blob_ids_pin_files_too(tmp_path):
    (tmp_path / "file").write_bytes(b"hello\n")
    # `printf 'hello\n' | git hash-object --stdin`
    source = named.PublishedFile("file", "git:ce013625030ba8dba906f756967f9e9ca394464a", None)
    named._verify(tmp_path / "file", source)
    with pytest.raises(InputError, match="git ce0136"):
        named._verify(tmp_path / "file", named.PublishedFile("file", "git:" + "0" * 40, None))


def test_a_file_that_differs_by_its_line_ends_alone_is_told_so(tmp_path):
    (tmp_path / "file").write_bytes(b"1 2\r\n3 4\r\n")
    with pytest.raises(InputError, match="the published file but for its line ends, which are CRLF here"):
        named._verify(tmp_path / "file", named.PublishedFile("file", sha256(b"1 2\n3 4\n"), None))


def wheel(content: bytes, titles: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{named._RECBOLE_FOLDER}/ml-100k.inter", content)
        archive.writestr(f"{named._RECBOLE_FOLDER}/ml-100k.item", titles)
        archive.writestr("../../escape.txt", b"never unpacked")
    return buffer.getvalue()


def pip_brings(monkeypatch, content: bytes) -> None:
    def run(command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        Path(command[command.index("--dest") + 1], "recbole-1.2.1-py3-none-any.whl").write_bytes(content)

    monkeypatch.setattr(subprocess, "run", run)


INTER = b"user_id:token\titem_id:token\trating:float\n" + b"".join(b"%d\t%d\t3\n" % (n % 5, n) for n in range(50))


def test_a_member_is_taken_out_of_a_wheel(tmp_path, monkeypatch):
    pip_brings(monkeypatch, wheel(INTER))
    monkeypatch.setattr(named, "_RECBOLE_SHA256", hashlib.sha256(wheel(INTER)).hexdigest())
    source = named.PublishedFile("ml-100k.inter", sha256(INTER), named._fetch_from_wheel)
    monkeypatch.setitem(named.NAMED, "ml-100k", named.NamedDataset("pairs", source))
    found = datasets.load(DataSettings(dataset="ml-100k", data_dir=str(tmp_path)))
    assert (found.train.nnz, found.test.nnz) == (40, 10)
    assert [path.name for path in tmp_path.rglob("*")] == ["ml-100k", "ml-100k.inter"]


def test_titles_come_beside_the_data_where_they_can_be_had(tmp_path, monkeypatch):
    films = b"item_id:token\tmovie_title:token_seq\n" + b"".join(b"%d\tFilm %d\n" % (n, n) for n in range(50))
    pip_brings(monkeypatch, wheel(INTER, films))
    monkeypatch.setattr(named, "_RECBOLE_SHA256", hashlib.sha256(wheel(INTER, films)).hexdigest())
    sources = [
        named.PublishedFile(f"ml-100k.{kind}", sha256(content), named._fetch_from_wheel)
        for kind, content in (("inter", INTER), ("item", films))
    ]
    monkeypatch.setitem(named.NAMED, "ml-100k", named.NamedDataset("pairs", sources[0], items=sources[1]))
    settings = DataSettings(dataset="ml-100k", data_dir=str(tmp_path))
    assert datasets.load(settings).item_titles.tolist() == [f"Film {n}" for n in range(50)]
    (tmp_path / "ml-100k" / "ml-100k.item").unlink()
    monkeypatch.setattr(named, "_RECBOLE_SHA256", "0" * 64)
    found = datasets.load(settings)
    assert (found.item_titles, found.train.nnz) == (None, 40)
    assert found.remarks[-1].startswith("items are shown without titles: the wheel of recbole==1.2.1: found sha256")


def test_a_wheel_with_another_hash_is_not_opened(tmp_path, monkeypatch):
    pip_brings(monkeypatch, wheel(INTER))
    message = refusal(Config.of(dataset="ml-100k", data_dir=str(tmp_path)))
    assert "the wheel of recbole==1.2.1" in message
    assert list(tmp_path.iterdir()) == []


def test_the_reason_of_a_failing_pip_is_told(tmp_path, monkeypatch):
    def run(command, **options):
        raise subprocess.CalledProcessError(1, command, stderr="noise\nERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    message = refusal(Config.of(dataset="ml-100k", data_dir=str(tmp_path)))
    assert "ERROR: no matching distribution" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_a_data_set(tmp_path):
    folder = put(tmp_path) / "tiny"
    assert datasets.load(DataSettings(dataset=str(folder))).name == "tiny"
    (folder / "valid.txt").write_bytes(b"1 0\n")
    assert datasets.load(DataSettings(dataset=str(folder))).valid.nnz == 1


def test_a_file_is_a_data_set_and_is_split(tmp_path):
    (tmp_path / "events.csv").write_text("".join(f"{n % 4},{n}\n" for n in range(40)))
    found = datasets.load(DataSettings(dataset=str(tmp_path / "events.csv"), test_fraction=0.3))
    assert (found.train.nnz, found.test.nnz) == (28, 12)
    held = datasets.load(DataSettings(dataset=str(tmp_path / "events.csv"), test_fraction=0.3, validation_fraction=0.2))
    assert (held.train.nnz, held.valid.nnz, held.test.nnz) == (24, 4, 12)


@pytest.mark.parametrize(("names", "part"), [(["train.txt"], "train.txt"), ([], "nothing"), (["a", "b"], "a, b")])
def test_a_folder_without_both_parts_is_refused(tmp_path, names, part):
    for name in names:
        (tmp_path / name).write_bytes(TRAIN)
    message = refusal(Config.of(dataset=str(tmp_path)))
    assert f"found {part}, expected files called train.* and test.*" in message


def test_a_data_set_without_a_train_pair_is_named_by_its_path(tmp_path):
    (tmp_path / "train.txt").write_text("1\n2\n")
    (tmp_path / "test.txt").write_text("1 2\n")
    assert refusal(Config.of(dataset=str(tmp_path))).startswith(
        f"{tmp_path}: found no event that is left (2 users listed without an item)"
    )
    file = str(tmp_path / "train.txt")
    assert refusal(Config.of(dataset=file)).startswith(
        f"{file}: found no event that is left (2 users listed without an item)"
    )


def test_two_files_for_one_part_are_refused(tmp_path):
    for name in ("train.txt", "train.csv", "test.txt"):
        (tmp_path / name).write_bytes(TRAIN)
    assert "train.csv and train.txt" in refusal(Config.of(dataset=str(tmp_path)))


def test_an_unknown_name_is_refused_with_the_nearest():
    for name in ("lastfn", "LastFM"):
        assert "did you mean lastfm?" in refusal(Config.of(dataset=name))
    assert "--dataset: found ''" in refusal(Config.of())


def test_a_synthetic_world_too_dense_is_refused_by_its_flag():
    config = Config.of(dataset="synthetic", num_users=10, num_items=10, num_interactions=51)
    assert refusal(config).startswith("--num_interactions: found 51")


@pytest.mark.parametrize(
    ("name", "users", "items", "train", "test", "evaluated"),
    [
        ("gowalla", 29_858, 40_981, 810_128, 217_242, 29_858),
        ("yelp2018", 31_668, 38_048, 1_237_259, 324_147, 31_668),
        ("amazon-book", 52_643, 91_599, 2_380_730, 603_378, 52_639),
        ("lastfm", 1_880, 4_489, 42_135, 10_533, 1_858),
    ],
)
def test_the_published_sets_have_their_published_counts(published, name, users, items, train, test, evaluated):
    found = datasets.load(DataSettings(dataset=name, data_dir=published(name)))
    assert (found.num_users, found.num_items, found.train.nnz, found.test.nnz) == (users, items, train, test)
    assert (csr.degrees(found.test) > 0).sum() == evaluated
    assert found.notes["repeated pairs merged"] == 0
    assert found.notes["test pairs left out (seen before)"] == 0


def test_lastfm_has_users_and_items_on_one_side_alone(published):
    found = datasets.load(DataSettings(dataset="lastfm", data_dir=published("lastfm")))
    summary = found.summary()
    assert found.num_users - summary["users without train items"] == 1878
    assert found.num_items - summary["items without train users"] == 4476


def test_two_that_fetch_one_set_into_one_folder_at_the_same_time_both_have_it(tmp_path, monkeypatch):
    """Each has the whole file in hand when the other one puts its own in place."""
    both = threading.Barrier(2, timeout=60)

    def fetch(source, target, progress):
        target.write_bytes(TRAIN if source.file == "train.txt" else TEST)
        both.wait()

    sources = (
        named.PublishedFile("train.txt", sha256(TRAIN), fetch),
        named.PublishedFile("test.txt", sha256(TEST), fetch),
    )
    monkeypatch.setitem(named.NAMED, "tiny", named.NamedDataset("adjacency", *sources))
    monkeypatch.delenv(named.ENVIRONMENT, raising=False)
    found = []
    config = Config.of(dataset="tiny", data_dir=str(tmp_path))
    threads = [
        threading.Thread(target=lambda: found.append(datasets.load(config.data).content_hash())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert found[0] == found[1]
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["test.txt", "train.txt"]


def test_a_folder_that_another_failed_download_removes_is_made_again(tmp_path, monkeypatch):
    make, removed = named.tempfile.TemporaryDirectory, []

    def made(dir, prefix):
        if not removed:
            removed.append(dir)
            dir.rmdir()
        return make(dir=dir, prefix=prefix)

    monkeypatch.setattr(named.tempfile, "TemporaryDirectory", made)
    with named._staging_folder(tmp_path / "tiny") as folder:
        assert folder.parent == removed[0] == tmp_path / "tiny"
    assert list((tmp_path / "tiny").iterdir()) == []

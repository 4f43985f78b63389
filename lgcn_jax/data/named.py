"""Published data sets: where their files lie, how they are fetched, and the digests that they must have."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.system import ending, paths

ENVIRONMENT = "LGCN_JAX_DATA"
_LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data"


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file of a named set: its name, the digest that it must have (`sha256:...` or `git:...`) and how it is had."""

    file: str
    digest: str
    fetch: Callable[["PublishedFile", Path, bool], None]


@dataclasses.dataclass(frozen=True)
class NamedDataset:
    """A published data set.

    Attributes:
      format: of the files of its parts.
      train, test: the file of each part; without the latter, the former is split here.
      items: a table of the items' titles, where there is one.
    """

    format: str
    train: PublishedFile
    test: PublishedFile | None = None
    items: PublishedFile | None = None


def find_or_fetch(settings: DataSettings, source: PublishedFile, progress: bool) -> Path:
    """The verified file: under --data_dir, under the environment's folder, or fetched into --data_dir."""
    for where, folder in ("--data_dir", settings.data_dir), (ENVIRONMENT, os.environ.get(ENVIRONMENT)):
        path = Path(folder or "") / settings.dataset / source.file
        if folder and paths.exists(path, f"{where}={folder}"):
            _verify(path, source)
            return path
    path = Path(settings.data_dir) / settings.dataset / source.file
    _download(settings, source, path, progress)
    return path


def _download(settings: DataSettings, source: PublishedFile, path: Path, progress: bool) -> None:
    """Fetches to a folder beside the target, verifies there, then renames: a failure leaves nothing behind.

    Others may fetch the same at the same time: each renames what it has, and all of it is the same.
    """
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        with _staging_folder(path.parent) as folder, ending.cleanup(functools.partial(paths.remove_empty, made)):
            arrived = folder / source.file
            source.fetch(source, arrived, progress)
            _verify(arrived, source, described_as=f"the download of {source.file}")
            arrived.replace(path)
    except (subprocess.CalledProcessError, OSError) as error:
        expected = f"the file there, under ${ENVIRONMENT}/{settings.dataset}, or a network from which it can be fetched"
        raise InputError(path, f"no such file, and fetching it failed ({_reason_text(error)})", expected) from None
    finally:
        paths.remove_empty(made)


@contextlib.contextmanager
def _staging_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, which is made first, so that a place that can't be written costs no download."""
    while True:
        parent.mkdir(parents=True, exist_ok=True)
        try:
            folder = tempfile.TemporaryDirectory(dir=parent, prefix=".fetch-")
            break
        except FileNotFoundError:  # another process, whose download failed, has just removed the empty parent
            continue
    with folder as name, ending.cleanup(folder.cleanup):
        yield Path(name)


def _reason_text(error: Exception) -> str:
    """One line on why a download failed: of pip, the last line that it wrote to stderr."""
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = (text or "").strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


def _verify(path: Path, source: PublishedFile, described_as: str = "") -> None:
    kind, _, expected = source.digest.partition(":")
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise InputError(path, "a directory", "a file of interactions") from None
    except OSError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror})", "a readable file") from None
    found = _DIGESTS[kind](data)
    if found != expected:
        if _DIGESTS[kind](data.replace(b"\r\n", b"\n")) == expected:
            found += " (the published file but for its line ends, which are CRLF here)"
        raise InputError(described_as or path, f"{kind} {found}", f"{kind} {expected}, the published file")


_DIGESTS = {
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
    "git": lambda data: hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
}


def _url_fetcher(name: str):
    def fetch(source: PublishedFile, target: Path, progress: bool) -> None:
        import pooch  # an eighth of a second, for whoever fetches

        pooch.get_logger().setLevel("ERROR")
        url = f"{_LIGHTGCN}/{name}/{source.file}"
        pooch.HTTPDownloader(progressbar=progress)(url, str(target), None)

    return fetch


_RECBOLE = "recbole==1.2.1"
_RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_RECBOLE_FOLDER = "recbole/dataset_example/ml-100k"


def _fetch_from_wheel(source: PublishedFile, target: Path, progress: bool) -> None:
    """Takes the file out of RecBole's wheel, which pip brings from wherever it is set up to find packages."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--progress-bar", "on" if progress else "off"]
    command += ["--dest", str(target.parent), _RECBOLE]
    shown = sys.stderr.fileno() if progress else subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=shown, stderr=subprocess.PIPE, text=True)
    wheel = next(target.parent.glob("*.whl"), None)
    if wheel is None:
        raise FileNotFoundError(f"pip brought no wheel of {_RECBOLE}")
    pinned = PublishedFile(wheel.name, f"sha256:{_RECBOLE_SHA256}", _fetch_from_wheel)
    _verify(wheel, pinned, described_as=f"the wheel of {_RECBOLE}")
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(f"{_RECBOLE_FOLDER}/{source.file}"))


def _lightgcn_dataset(name: str, file_format: str, train: tuple[str, str], test: tuple[str, str]) -> NamedDataset:
    fetch = _url_fetcher(name)
    return NamedDataset(file_format, PublishedFile(*train, fetch), PublishedFile(*test, fetch))


NAMED = {
    "gowalla": _lightgcn_dataset(
        "gowalla",
        "adjacency",
        ("train.txt", "sha256:7244696fdeb23911319cf7b689f2e15a3c4c92549c873a5677b44e3f13cc3e62"),
        ("test.txt", "sha256:099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3"),
    ),
    "yelp2018": _lightgcn_dataset(
        "yelp2018",
        "adjacency",
        ("train.txt", "sha256:1e9568725a9e833d0ac3bae01c94cd95367f73b3bb6104fd26b5f65ea5054093"),
        ("test.txt", "sha256:9cd9b37926cd1447a06625ffa7914527573fb097c10cb0bbdb1d1b8ded3742fe"),
    ),
    "lastfm": _lightgcn_dataset(
        "lastfm",
        "pairs",
        ("data1.txt", "sha256:c82af3228cbbda2f55a39244de09ed93292894f1d0d9f1908ebb57e27598fded"),
        ("test1.txt", "sha256:de4417c0e6123284ce59a0934bcf5288ec1ec8774a18a1eef453c9952dfa48f9"),
    ),
    "amazon-book": _lightgcn_dataset(
        "amazon-book",
        "adjacency",
        ("train.txt", "git:6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99"),
        ("test.txt", "git:09e5da4e0bf46c751c4ba0f4375e414fd13512cd"),
    ),
    "ml-100k": NamedDataset(
        "pairs",
        PublishedFile(
            "ml-100k.inter",
            "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            _fetch_from_wheel,
        ),
        items=PublishedFile(
            "ml-100k.item",
            "sha256:51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            _fetch_from_wheel,
        ),
    ),
}

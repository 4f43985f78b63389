"""Feeds damaged files to the readers and damaged work folders to the command line.

    python experiments/reliability/fuzz.py --files=10000 --folders=500

Files are valid ones of every format with bytes changed, cut, doubled, inserted or removed, and plain junk. Work
folders are those of a finished run, in which one to three things are damaged: files cut, changed, emptied, deleted,
with a line more, nested too deeply, or replaced by a folder or by a link out of the work folder; files that nobody
asked for are added. They are then given to `train` (to continue, or to begin anew) or to `evaluate`.

Each must end in success or in one clear line, status 0, 1 or 2. An exception, a traceback, a hang of a minute, or a
file beside the work folder that has come, gone or changed ends the program with status 1 and the seed of the trial.

Two cores: about a minute for 10,000 files, and one to two seconds a folder.
"""

import contextlib
import faulthandler
import gzip
import io
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import pyarrow
import pyarrow.parquet
from absl import app, flags

from lgcn_jax.cli import main as cli
from lgcn_jax.data import csr, datasets, interactions
from lgcn_jax.data.settings import FORMATS, SPLITS, DataSettings
from lgcn_jax.errors import InputError

HANG_SECONDS = 60

TABLE = pyarrow.table({"user": ["a", "b", "a"], "item": [7, 8, 8], "time": [1, 2, 3], "rating": [5.0, 1.0, None]})


def columnar() -> tuple[bytes, bytes]:
    """The table as a parquet and an Arrow file."""
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pyarrow.parquet.write_table(TABLE, parquet)
    with pyarrow.ipc.new_file(arrow, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return parquet.getvalue(), arrow.getvalue()


WHOLE_FILES = (
    b"0 1 2 3\n1 4 5\n2 0\n3\n",
    b"1\t10\t5\n1\t11\t4\n2\t10\t3\n",
    b"1,10,4.5,881250949\n2,11,3.0,881250950\n",
    b"1 10 5 881250949\n1 11 3 881250950\n",
    b"user_id:token\titem_id:token\trating:float\n1\t10\t5\n2\t11\t3\n",
    b"\xef\xbb\xbfuserId,itemId\r\n1,10\r\n2,11\r\n",
    gzip.compress(b"0 1 2 3\n1 4 5\n2 0\n", mtime=0),
    b"2 10 11\n1 12\n2 11 12\n",
    b"1::10::5::978300760\n1::11::3::978302109\n2::10::4::978301968\n",
    b"user;item;rating\n1;10;4,5\n1;11;2,0\n2;10;1,5\n",
    b'"user_id","item_id","title"\n"a1","x7","Ship, ""The"""\n"a2","x8","b"\n"a1","x8",""\n',
    b"user_id,item_id,timestamp,label\nu1,i1,2024-05-31 10:00:00,1\nu1,i2,2024-06-01 11:30:00,0\nu2,i1,2024-06-02,1\n",
    b"# network\n% more\n1 2\n1 3\n2 3\n",
    b'{"user": "a", "item": 1, "rating": 5}\n{"user": "b", "item": 2, "rating": null}\n',
    *columnar(),
)
TELLING = b"0123456789 \t\n\r,;|.-+eE:xuser_id#%{}\"'"  # bytes at which a reader decides something
BINARY = b"\x00\xef\xbb\xbf\x1f\x8b\xff"
RUN = [
    *("--dataset=synthetic", "--num_users=60", "--num_items=40", "--num_interactions=600", "--top_k=5", "--quiet"),
    *("--num_layers=1", "--embedding_dim=4", "--batch_size=256", "--eval_every=2", "--save_every=1"),
]


def mutated(draw: random.Random, content: bytes) -> bytes:
    """One to four changes of the content, each of a random kind at a random place."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randint(0, len(changed))
        kind = draw.choice(("flip", "cut", "insert", "double", "remove"))
        if kind == "flip" and place < len(changed):
            changed[place] ^= 1 << draw.randrange(7 if draw.random() < 0.95 else 8)  # seven keep text what it is
        elif kind == "cut":
            del changed[place:]
        elif kind == "insert":
            changed[place:place] = bytes(
                draw.choices(TELLING if draw.random() < 0.9 else BINARY, k=draw.randint(1, 12))
            )
        elif kind == "double":
            changed[place:place] = changed[place : place + draw.randint(1, 20)]
        elif kind == "remove":
            del changed[place : place + draw.randint(1, 5)]
    return bytes(changed)


def read_damaged(seed: int, folder: Path) -> str:
    """One trial of the readers; returns 'read' or 'refused'."""
    draw = random.Random(seed)
    junk = draw.random() < 0.1
    content = draw.randbytes(draw.randint(0, 200)) if junk else mutated(draw, draw.choice(WHOLE_FILES))
    path = folder / "events"
    path.write_bytes(content)
    try:
        found = datasets.load(DataSettings(dataset=str(path), **reading(draw)))
    except InputError as error:
        require("\n" not in str(error) and (str(path) in str(error) or str(error).startswith("--")), str(error))
        return "refused"
    require_sound(found)
    return "read"


def reading(draw: random.Random) -> dict[str, object]:
    """Settings of how a file is read, most of them left as they are."""
    choices = {
        "format": FORMATS,
        "header": ("yes", "no"),
        "delimiter": (",", "semicolon", "tab", "space", "::"),
        "encoding": ("latin-1", "utf-16", "ascii"),
        "split": SPLITS,
        "user_col": ("1", "2", "user", "user_id"),
        "item_col": ("1", "2", "3", "item"),
        "time_col": ("3", "4", "time"),
        "rating_col": ("3", "rating"),
        "label_col": ("4", "label"),
        "weight_col": ("3", "rating"),
        "min_rating": (1.0, 4.0),
        "repeats": ("count",),
        "min_user_interactions": (2,),
        "min_item_interactions": (2,),
        "strict": (True,),
        "validation_fraction": (0.5,),
    }
    stated = draw.sample(list(choices), draw.choice((0, 0, 0, 1, 3)))
    return {name: draw.choice(choices[name]) for name in stated}


def require_sound(found: interactions.Interactions) -> None:
    """What holds of every data set: parts are disjoint, numbers in range, ids ascending, weights positive."""
    for part in (found.train, found.valid, found.test):
        require(part.num_rows == found.num_users, "a part with rows of other users")
        require(not part.nnz or 0 <= part.indices.min() <= part.indices.max() < found.num_items, "an item out of range")
    seen = [set(zip(*pairs_of(part), strict=True)) for part in (found.train, found.valid, found.test)]
    require(len(set().union(*seen)) == sum(map(len, seen)), "a pair in two parts")
    for ids in (found.user_ids.tolist(), found.item_ids.tolist()):
        require(ids == sorted(set(ids)), "ids that are not ascending")
    require(found.weights is None or (found.weights > 0).all(), "a weight that is not positive")
    require(len(found.content_hash()) == 64, "no hash")
    found.summary()


def pairs_of(part) -> tuple[list[int], list[int]]:
    return csr.row_of_entry(part).tolist(), part.indices.tolist()


def damage(draw: random.Random, folder: Path) -> list[str]:
    """Damages one to three files of a work folder; returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    done = []
    for path in draw.sample(files, draw.randint(1, 3)):
        if draw.random() < 0.2:  # they are few among many files, and it is they that decide
            path = draw.choice([each for each in files if each.name in DECIDING])
        kind = draw.choice((*CONTENTS, *PLACES))
        if not path.is_file() or path.is_symlink():
            continue  # met twice
        if kind in CONTENTS:
            path.write_bytes(CONTENTS[kind](draw, bytearray(path.read_bytes())))
        else:
            PLACES[kind](path, folder.parent / "target")
        done.append(f"{kind} {path.relative_to(folder)}")
    return done


def _flip(draw: random.Random, content: bytearray) -> bytearray:
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def _blocked(path: Path, target: Path) -> None:
    del target
    path.unlink()
    path.mkdir()


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _folder_link(path: Path, target: Path) -> None:
    """The file's folder becomes a link to a copy of it beside the work folder."""
    if path.parent.name in ("arrays", "meta", "metrics"):
        shutil.copytree(path.parent, target.with_name("copied"), dirs_exist_ok=True)
        shutil.rmtree(path.parent)
        path.parent.symlink_to(target.with_name("copied"))


DECIDING = ("config.json", "metadata", "metrics", "SHA256SUMS", "metrics.jsonl")
CONTENTS = {
    "flip": _flip,
    "truncate": lambda draw, content: content[: draw.randrange(len(content) + 1)],
    "empty": lambda draw, content: b"",
    "replace": lambda draw, content: draw.randbytes(draw.randint(1, 300)),
    "nest": lambda draw, content: b"[" * 100_000,
    "add lines to": lambda draw, content: content + draw.choice((b"\n", b"\n\n", b"x\n", b"a  b\n", b"\xff\n")),
}
PLACES = {
    "delete": lambda path, target: path.unlink(),
    "make a folder of": _blocked,
    "make a link of": _link,
    "make a link of the folder of": _folder_link,
    "add a file beside": lambda path, target: path.with_name("extra").write_bytes(b"extra"),
    "add a file named as a step in": lambda path, target: path.with_name("99999").write_bytes(b""),
}


def use_damaged(seed: int, folder: Path, whole: Path) -> str:
    """One trial of a work folder `whole`, copied into `folder`; returns the command and its exit status."""
    draw = random.Random(seed)
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    (folder / "target").write_bytes(b"not ours")
    shutil.rmtree(folder / "copied", ignore_errors=True)
    done = damage(draw, run)
    before = contents(folder, run)
    command = draw.choice(
        (
            ["train", f"--epochs={draw.choice((4, 6))}"],
            ["train", "--overwrite", *RUN, "--epochs=2"],
            ["evaluate"],
            ["evaluate", "--checkpoint=latest"],
        )
    )
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = cli.main([*command, f"--workdir={run}"])
    lines = said.getvalue().splitlines()
    require(status in (0, 1, 2), f"status {status}")
    require(status == 0 or len(lines) >= 1, f"{done}: status {status} without a word")
    require(not any("Traceback" in line for line in lines), f"{done}: {lines}")
    notes = [line for line in lines if line.startswith(f"{run}: ") and not line.startswith(f"{run}: found ")]
    require(status == 0 or len(lines) - len(notes) == 1, f"{done}: {lines}")
    require(contents(folder, run) == before, f"{done}: something beside the work folder has changed")
    return f"{command[0]}: status {status}"


def contents(folder: Path, without: Path) -> dict[Path, bytes]:
    """All files under `folder`, but not those under `without`."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_relative_to(without)}


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def trials(count: int, seed: int, trial: Callable[[int], str]) -> Counter:
    """Runs trials of seeds seed, seed + 1, ...; a failure names its seed, and a hang ends the program."""
    outcomes = Counter()
    for number in range(seed, seed + count):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            outcomes[trial(number)] += 1
        except Exception as error:
            raise AssertionError(f"the trial of seed {number} failed") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    return outcomes


def fuzz(files: int, folders: int, seed: int) -> dict[str, Counter]:
    """How the trials of the readers and of the work folders ended.

    Raises:
      AssertionError: one of them did not end as it should; the message names its seed.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, elsewhere = Path(name).resolve(), Path(name).resolve() / "elsewhere"
        elsewhere.mkdir()
        stack.enter_context(contextlib.chdir(elsewhere))
        found = {"files": trials(files, seed, lambda number: read_damaged(number, folder))}
        whole = elsewhere / "whole"
        with contextlib.redirect_stdout(io.StringIO()):
            require(cli.main(["train", *RUN, "--epochs=4", f"--workdir={whole}"]) == 0, "the whole run failed")
        return found | {"folders": trials(folders, seed, lambda number: use_damaged(number, folder, whole))}


def main(argv: list[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
        for what, outcomes in fuzz(flags.FLAGS.files, flags.FLAGS.folders, flags.FLAGS.seed).items():
            ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            print(f"{outcomes.total()} {what}: {ends}")


if __name__ == "__main__":
    flags.DEFINE_integer("files", 10_000, "trials of the readers")
    flags.DEFINE_integer("folders", 500, "trials of the work folder")
    flags.DEFINE_integer("seed", 0, "seed of the first trial; trial n has seed + n")
    app.run(main)

"""Edges of the data layer: extreme rows, one table in every format, broken transfers, and values of the wrong type."""

import gc
import gzip
import http.server
import subprocess
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from events_of import pairs

from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets, files, named, preparation
from lgcn_jax.data.interactions import assemble, hold_out
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

COLUMNS = 13


def from_rows(rows) -> csr.CSR:
    array = np.array([(r, c) for r, columns in enumerate(rows) for c in columns], np.int64).reshape(-1, 2)
    return csr.from_pairs(array[:, 0], array[:, 1], (len(rows), COLUMNS))


def filled_rows(seed) -> list[list[int]]:
    """Rows of every fill: the first is empty, the last is full."""
    random = np.random.default_rng(seed)
    fills = [0.0, *random.random(5), 0.0, 1.0]
    return [np.flatnonzero(random.random(COLUMNS) < fill).tolist() for fill in fills]


def test_a_pair_repeated_256_times_is_one_entry():
    rows = np.array([1] * 256 + [0])
    found = csr.from_pairs(rows, np.array([2] * 256 + [3]), (2, 4))
    assert (found.indptr.tolist(), found.indices.tolist()) == ([0, 1, 2], [3, 2])


def test_isin_tells_rows_apart_whose_keys_are_equal_modulo_2_to_the_32():
    left = csr.CSR(np.array([0] + [1] * 65_537, np.int32), np.array([0], np.int32))
    right = csr.CSR(np.array([0] * 65_537 + [1], np.int32), np.array([0], np.int32))
    assert csr.isin(left, right, 65_536).tolist() == [False]


@pytest.mark.parametrize("seed", range(4))
def test_contains_is_right_for_every_column_of_empty_and_full_rows(seed):
    rows = filled_rows(seed)
    queries = [(r, c) for r in range(len(rows)) for c in range(COLUMNS)]
    row, column = jnp.array(queries, jnp.int32).T
    assert jax.jit(csr.contains)(from_rows(rows), row, column).tolist() == [c in rows[r] for r, c in queries]


@pytest.mark.parametrize("seed", range(4))
def test_complement_is_right_for_every_rank_of_empty_and_full_rows(seed):
    rows = filled_rows(seed)
    absent = [[c for c in range(COLUMNS) if c not in row] for row in rows]
    queries = [(r, rank) for r in range(len(rows)) for rank in range(len(absent[r]))]
    row, rank = jnp.array(queries, jnp.int32).T
    assert jax.jit(csr.kth_missing_column)(from_rows(rows), row, rank).tolist() == [absent[r][k] for r, k in queries]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9])
def test_one_row_that_holds_every_entry_is_searched_to_its_end(length):
    own = list(range(1, length + 1))
    row = jnp.ones(length + 2, jnp.int32)
    found = jax.jit(csr.contains)(from_rows([[], own, []]), row, jnp.arange(length + 2))
    assert found.tolist() == [False] + [True] * length + [False]
    assert jax.jit(csr.kth_missing_column)(from_rows([[], own, []]), row[:2], jnp.arange(2)).tolist() == [0, length + 1]


@pytest.mark.parametrize(
    "text",
    [
        "1 10 11\n2 10\n",
        "1 10\n1 11\n2 10\n",
        "1\t10\n1\t11\n2\t10\n",
        "1,10\n1,11\n2,10\n",
        "1\t10\t3.2466e+05\n1\t11\t5\n2\t10\t1\n",
        "1 10 4.5\n1 11 5\n2 10 1\n",
        "user,item,rating,timestamp\n1,10,5,881250949\n1,11,3,881250950\n2,10,4,881250951\n",
        "user_id:token\titem_id:token\n1\t10\n1\t11\n2\t10\n",
    ],
)
def test_the_same_pairs_are_read_from_every_format(tmp_path, text):
    for content in (text.encode(), text.replace("\n", "\r\n").encode(), gzip.compress(text.encode())):
        (tmp_path / "file").write_bytes(content)
        found = files.read_file(tmp_path / "file", DataSettings())
        assert [
            (u, i) for u, i in zip(*(c.values[c.codes].tolist() for c in (found.users, found.items)), strict=True)
        ] == [(1, 10), (1, 11), (2, 10)]


def test_a_gzip_cut_anywhere_is_refused(tmp_path):
    whole = gzip.compress(b"1 10 11\n2 12\n")
    for length in range(2, len(whole)):
        (tmp_path / "file").write_bytes(whole[:length])
        with pytest.raises(InputError, match="truncated or damaged gzip"):
            files.read_file(tmp_path / "file", DataSettings())


def test_users_whose_test_line_is_empty_have_no_test_items(tmp_path):
    (tmp_path / "train.txt").write_text("13646 0 1\n13647 1 2\n13648 0 2\n")
    (tmp_path / "test.txt").write_text("13646 2 \n13647\n13648 1\n")
    found = datasets.load(DataSettings(dataset=str(tmp_path)))
    assert (found.num_users, found.num_items, found.train.nnz, found.test.nnz) == (3, 3, 6, 2)
    assert csr.degrees(found.test).tolist() == [1, 0, 1]
    assert found.summary()["users listed without an item"] == 1


def test_test_items_that_a_split_takes_out_of_train_are_counted():
    whole = pairs([(user, 2 * user + n) for user in range(3) for n in range(2)])
    found = preparation.interactions_from_table("x", whole, DataSettings(test_fraction=0.5))
    assert (found.train.nnz, found.test.nnz) == (3, 3)
    assert found.summary()["test items unknown to train"] == 3


def test_test_items_that_holding_out_takes_out_of_train_are_counted():
    whole = assemble("x", pairs([(0, 0), (0, 1), (1, 2), (1, 3)]), pairs([(0, 2), (0, 3), (1, 0), (1, 1)]))
    found = hold_out(whole, 0.5, 0)
    assert (found.train.nnz, found.valid.nnz, found.test.nnz) == (2, 2, 4)
    assert found.summary()["test items unknown to train"] == 2


@pytest.fixture
def lastfm(tmp_path, monkeypatch) -> Config:
    monkeypatch.delenv(named.ENVIRONMENT, raising=False)
    return Config.of(dataset="lastfm", data_dir=str(tmp_path / "data"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_download_that_breaks_off_is_refused_and_leaves_nothing(tmp_path, lastfm, monkeypatch):
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"1\t2\t3\n")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(named, "_LIGHTGCN", f"http://127.0.0.1:{running.server_address[1]}")
        with pytest.raises(InputError, match=r"data1\.txt"):
            datasets.load(lastfm.data)
        running.shutdown()
    gc.collect()  # the broken connection, which pooch leaves open
    assert list(tmp_path.iterdir()) == []


def test_a_pip_that_brings_no_wheel_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv(named.ENVIRONMENT, raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: None)
    with pytest.raises(InputError, match="recbole"):
        datasets.load(DataSettings(dataset="ml-100k", data_dir=str(tmp_path / "data")))
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_for_a_path_is_refused():
    with pytest.raises(InputError, match="--dataset"):
        datasets.load(DataSettings(dataset="x" * 300))


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("num_items", 1, "from 2"),
        ("num_interactions", 1, "from 2"),
        ("data_seed", -1, "from 0"),
        ("test_fraction", 0.0, "between 0 and 1"),
        ("validation_fraction", -0.1, "from 0"),
        ("learning_rate", float("inf"), "above 0"),
    ],
)
def test_a_setting_below_its_least_is_refused(name, value, least):
    with pytest.raises(InputError) as error:
        Config.of(**{name: value})
    assert str(error.value).startswith(f"--{name}: found {value}, expected ")
    assert least in str(error.value)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "seed"])
def test_a_count_that_is_no_integer_is_refused(name):
    with pytest.raises(InputError, match=rf"--{name}: found 1\.5, expected an integer"):
        Config.of(**{name: 1.5})


def test_a_config_with_an_integer_too_large_for_a_float_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"margin": 1' + "0" * 400 + "}")
    with pytest.raises(InputError, match=r"config\.json"):
        Config.from_json(tmp_path / "config.json")


def test_a_folder_in_place_of_a_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        Config.from_json(tmp_path)

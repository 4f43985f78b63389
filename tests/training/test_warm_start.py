"""Runs that begin with another's table: which rows are carried over, what new nodes begin with, and going on."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.runs import raw_ids
from lgcn_jax.training import warm_start
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.warm_start import WarmStart

SETTINGS = {"embedding_dim": 8, "epochs": 2, "top_k": (5,), "batch_size": 1024, "num_layers": 2}


@pytest.fixture(scope="module")
def data() -> Interactions:
    return lg.load("synthetic", num_users=120, num_items=60, num_interactions=2000)


def part_of(data: Interactions, users: slice, items: slice) -> Interactions:
    """The data set of some users and items alone."""

    def cut(part: csr.CSR) -> csr.CSR:
        rows = csr.take_rows(part, np.arange(data.num_users)[users])
        columns = np.arange(data.num_items)[items]
        kept = csr.filter_entries(rows, np.isin(rows.indices, columns))
        return kept._replace(indices=(kept.indices - columns[0]).astype(np.int32))

    found = {name: cut(getattr(data, name)) for name in ("train", "valid", "test")}
    ids = {"user_ids": data.user_ids[users], "item_ids": data.item_ids[items]}
    return dataclasses.replace(data, source=None, name="part", **found, **ids)


@pytest.fixture(scope="module")
def earlier(data) -> lg.LightGCN:
    """Of users 10 to 99 and items 5 to 59."""
    return lg.LightGCN(**SETTINGS).fit(part_of(data, slice(10, 100), slice(5, 60)), quiet=True)


def config_of(data: Interactions, **more):
    return lg.Model(**SETTINGS | more)._stated_for(data, None)


def begun(data: Interactions, source: WarmStart, **more):
    from lgcn_jax.config import Config

    setup = build_setup(Config.of(**config_of(data, **more)), data)
    found = warm_start.make_warm_start_point(setup, data, source)
    return setup, found.start, found.note


def source_of(model: lg.LightGCN) -> WarmStart:
    return WarmStart("earlier", model.config, model.users, model.items, model._trained.table)


def expected_table(data: Interactions, source: WarmStart, fresh: np.ndarray) -> np.ndarray:
    """float64[num_nodes, d]: by dense products over the new graph."""
    table = np.zeros(fresh.shape)
    known = np.zeros(len(fresh), bool)
    old = dict(zip([f"u{u}" for u in source.users] + [f"i{i}" for i in source.items], source.table, strict=True))
    for node, name in enumerate([f"u{u}" for u in data.user_ids] + [f"i{i}" for i in data.item_ids]):
        if name in old:
            table[node], known[node] = old[name], True
    a = np.zeros((len(table),) * 2)
    a[csr.row_of_entry(data.train), data.num_users + data.train.indices] = 1
    a += a.T
    scale = np.array([1 / np.sqrt(d) if d else 0.0 for d in a.sum(0)])
    a = scale[:, None] * a * scale
    folded = (a @ table + a @ a @ table) / 2  # K = 2 with equal weights, renormalized
    reached = (folded != 0).any(1)
    return np.where(known[:, None], table, np.where(reached[:, None], folded, fresh))


@pytest.mark.parametrize("how", [{}, {"node_order": "natural", "propagation": "bucket"}, {"mesh": "data:2,nodes:2"}])
def test_known_rows_are_carried_over_and_new_ones_folded_in(data, earlier, how):
    setup, start, line = begun(data, source_of(earlier), **how)
    fresh = setup.table(setup.init_state().params)
    found = setup.table(start.state.params)
    np.testing.assert_allclose(found, expected_table(data, source_of(earlier), fresh), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found[10:100], earlier._trained.table[:90])  # bit for bit
    assert line == "begins with the rows that 90 of 120 users and 55 of 60 items have in earlier"
    moments = [leaf for leaf in map(np.asarray, _leaves(start.state.optimizer)) if leaf.ndim]
    assert moments
    assert not any(leaf.any() for leaf in moments)  # the optimizer begins anew
    assert start.progress.epoch == 0


def _leaves(tree):
    import jax

    return jax.tree.leaves(tree)


def test_nodes_that_nothing_joins_to_known_ones_are_initialised_as_usual(data, earlier):
    """Two users more, with an item of their own."""
    indptr = np.concatenate([data.train.indptr, data.train.nnz + np.array([1, 2])]).astype(np.int32)
    train = csr.CSR(indptr, np.append(data.train.indices, [60, 60]).astype(np.int32))
    none = csr.empty(122)
    test = csr.CSR(np.concatenate([data.test.indptr, data.test.indptr[-1:].repeat(2)]), data.test.indices)
    ids = {"user_ids": np.arange(122, dtype=np.int32), "item_ids": np.arange(61, dtype=np.int32)}
    more = dataclasses.replace(data, train=train, valid=none, test=test, source=None, **ids)
    setup, start, _ = begun(more, source_of(earlier))
    found, fresh = setup.table(start.state.params), setup.table(setup.init_state().params)
    lonely = [120, 121, 182]
    np.testing.assert_array_equal(found[lonely], fresh[lonely])
    assert not (found[:10] == fresh[:10]).any()


def test_integers_meet_the_text_that_they_are_written_as(data, earlier):
    as_text = np.sort(data.item_ids.astype(str).astype(object))  # another order: '10' before '2'
    order = np.argsort(data.item_ids.astype(str).astype(object))
    place = np.argsort(order)
    train = csr.from_pairs(csr.row_of_entry(data.train), place[data.train.indices], (120, 60))
    test = csr.from_pairs(csr.row_of_entry(data.test), place[data.test.indices], (120, 60))
    text = dataclasses.replace(data, train=train, test=test, item_ids=as_text, source=None)
    setup, start, line = begun(text, source_of(earlier))
    assert "55 of 60 items" in line
    found = setup.table(start.state.params)[120:]
    for number, row in zip(earlier.items, earlier._trained.table[90:], strict=True):
        np.testing.assert_array_equal(found[as_text.tolist().index(str(number))], row)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"embedding_dim": 16}, r"--warm_start=earlier: found a run with --embedding_dim=8, expected one with .*=16"),
        ({"model": "other"}, r"--warm_start=earlier: found a run with --model=lightgcn, expected one with .*=other"),
    ],
)
def test_tables_of_another_kind_are_refused(data, earlier, change, line, monkeypatch):
    from lgcn_jax.models import ENCODERS, LightGCNSettings

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(LightGCNSettings):
        pass

    monkeypatch.setitem(ENCODERS._parts, "other", Other)
    with pytest.raises(InputError, match=line):
        begun(data, source_of(earlier), **change)


def test_a_source_of_other_users_and_items_is_refused(data, earlier):
    other = source_of(earlier)._replace(users=earlier.users + 1000, items=earlier.items + 1000)
    with pytest.raises(InputError, match=r"found a run with other users and other items, expected some of those"):
        begun(data, other)


def test_another_number_of_layers_is_allowed(data, earlier):
    """Rows of known users are carried over as they are."""
    setup, start, _ = begun(data, source_of(earlier), num_layers=1)
    np.testing.assert_array_equal(setup.table(start.state.params)[10:100], earlier._trained.table[:90])


def test_a_fit_begins_with_a_fitted_model(data, earlier):
    warm = lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(data, warm_start=earlier, quiet=True)
    cold = lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(data, quiet=True)
    near = np.abs(warm._trained.table[10:100] - earlier._trained.table[:90]).max()
    assert near < 0.02 < np.abs(cold._trained.table[10:100] - earlier._trained.table[:90]).max()
    with pytest.raises(InputError, match=r"warm_start: found a dict, expected a fitted model, or the folder of a run"):
        lg.LightGCN(**SETTINGS).fit(data, warm_start={}, quiet=True)
    with pytest.raises(InputError, match="was not fitted"):
        lg.LightGCN(**SETTINGS).fit(data, warm_start=lg.LightGCN(), quiet=True)


@pytest.fixture(scope="module")
def run_of_earlier(data, tmp_path_factory):
    """A run folder with raw ids, whose data set is not there any more."""
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    mine = part_of(data, slice(10, 100), slice(5, 60))
    model = lg.LightGCN(**SETTINGS).fit(mine, workdir=folder, quiet=True)
    if not (folder / raw_ids.FOLDER).is_dir():
        raw_ids.write_raw_ids(folder / raw_ids.FOLDER, *raw_ids.collect_raw_ids(mine))
    return folder, model


def test_a_run_hands_on_what_its_model_does(data, run_of_earlier, tmp_path):
    """And is not needed once there is a checkpoint: the run goes on to the bits of one that was not stopped."""
    folder, model = run_of_earlier
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    by_run = lg.LightGCN(**SETTINGS | {"epochs": 3}).fit(data, tmp_path / "whole", warm_start=source, quiet=True)
    by_model = lg.LightGCN(**SETTINGS | {"epochs": 3}).fit(data, warm_start=model, quiet=True)
    np.testing.assert_array_equal(by_run._trained.table, by_model._trained.table)
    told = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert told["config"]["warm_start"] == str(source)
    assert told["environment"]["warm_start"]["source"] == str(source)
    digest = told["environment"]["warm_start"]["parameters_sha256"]
    assert digest == source_of(model).facts()["parameters_sha256"]
    half = lg.LightGCN(**SETTINGS | {"epochs": 2}).fit(data, tmp_path / "half", warm_start=source, quiet=True)
    shutil.rmtree(source)
    settings = half.get_params() | {"epochs": 3}
    goes_on = lg.Model(**settings).fit(data, tmp_path / "half", quiet=True)
    np.testing.assert_array_equal(goes_on._trained.table, by_run._trained.table)
    environment = json.loads((tmp_path / "half" / "environment.json").read_text())
    assert environment["warm_start"]["parameters_sha256"] == digest


def test_a_run_goes_on_only_with_the_table_that_it_began_with(data, earlier, run_of_earlier, tmp_path, capsys):
    lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(data, tmp_path / "run", warm_start=earlier, quiet=True)
    lg.LightGCN(**SETTINGS).fit(data, tmp_path / "run", warm_start=earlier)
    assert "bits may differ" not in capsys.readouterr().err
    other = lg.LightGCN(**SETTINGS | {"seed": 1, "epochs": 1}).fit(data, quiet=True)
    with pytest.raises(InputError, match="another table than the run began with"):
        lg.LightGCN(**SETTINGS).fit(data, tmp_path / "run", warm_start=other, quiet=True)


def test_folders_without_a_run_are_refused(data, tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"warm_start=.*: found no run, expected the folder of a run"):
            lg.LightGCN(**SETTINGS).fit(data, warm_start=folder, quiet=True)


FLAGS = [
    *("--dataset=synthetic", "--num_users=120", "--num_items=60", "--num_interactions=2000", "--top_k=5", "--quiet"),
    *("--embedding_dim=8", "--epochs=1", "--batch_size=1024", "--num_layers=2"),
]


def test_from_the_command_line(run_of_earlier, tmp_path, capsys):
    """A run of before raw ids were kept has its data read again."""
    folder, _ = run_of_earlier
    flags = [*FLAGS, f"--warm_start={folder}"]
    assert main.main(["train", *flags, f"--workdir={tmp_path / 'run'}"]) == 0
    assert "begins with the rows that 90 of 120 users and 55 of 60 items have in" in capsys.readouterr().err
    assert main.main(["train", *FLAGS, f"--warm_start={tmp_path}", f"--workdir={tmp_path / 'other'}"]) == 2
    assert capsys.readouterr().err == f"--warm_start={tmp_path}: found no run, expected the folder of a run\n"
    assert not (tmp_path / "other" / "config.json").exists()
    assert main.main(["train", *flags, f"--workdir={tmp_path / 'run'}", "--warm_start=elsewhere"]) == 2
    assert "--warm_start" in capsys.readouterr().err
    assert main.main(["train", *FLAGS, f"--workdir={tmp_path / 'cold'}"]) == 0
    shutil.rmtree(tmp_path / "cold" / raw_ids.FOLDER, ignore_errors=True)
    assert main.main(["train", *FLAGS, f"--warm_start={tmp_path / 'cold'}", f"--workdir={tmp_path / 'next'}"]) == 0
    assert "120 of 120 users and 60 of 60 items" in capsys.readouterr().err


def test_nothing_is_cleared_before_the_source_is_known_to_fit(run_of_earlier, tmp_path, capsys):
    """And a run may begin anew with its own table."""
    folder = tmp_path / "run"
    assert main.main(["train", *FLAGS, f"--workdir={folder}"]) == 0
    other = [flag for flag in FLAGS if "embedding_dim" not in flag] + ["--embedding_dim=4", "--overwrite"]
    assert main.main(["train", *other, f"--warm_start={run_of_earlier[0]}", f"--workdir={folder}"]) == 2
    assert "found a run with --embedding_dim=8, expected one with --embedding_dim=4" in capsys.readouterr().err
    assert (folder / "result.json").exists()
    assert main.main(["train", *FLAGS, f"--workdir={folder}", f"--warm_start={folder}", "--overwrite"]) == 0
    assert "begins with the rows that 120 of 120 users" in capsys.readouterr().err


def test_a_dry_run_looks_at_the_source_too(run_of_earlier, tmp_path, capsys):
    flags = [*FLAGS, "--dry_run", f"--workdir={tmp_path / 'run'}"]
    assert main.main(["train", *flags, f"--warm_start={run_of_earlier[0]}"]) == 0
    assert "begins with the rows that 90 of 120 users" in capsys.readouterr().out
    assert main.main(["train", *flags, f"--warm_start={tmp_path}"]) == 2

"""Runs cut over devices: nobody has everything, and the numbers are those of one device."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.cli import main
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import NODES, PER_DEVICE, ROWS, WHOLE, Mesh, require_devices, ring_gather
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import ranking
from lgcn_jax.graph import propagation
from lgcn_jax.graph.compressed import BcsrLayout
from lgcn_jax.runs import session
from lgcn_jax.sampling import Batch
from lgcn_jax.training import loop
from lgcn_jax.training.programs import Programs, compile_block, make_evaluate
from lgcn_jax.training.setup import Setup, build_setup


def setup_on(config, mesh: str, **settings) -> Setup:
    config = config.replace(mesh=mesh, **settings)
    return build_setup(config, datasets.load(config.data))


def after(setup: Setup, steps: int, block=None):
    """State and totals after some steps of the first epoch; `block`: the program, where it is compiled already."""
    start = setup.initial_snapshot()
    indices = setup.mesh.replicate((jax.random.key(7), np.int32(0), np.int32(steps)))
    block = block or compile_block(setup, start)
    return block(start.state, start.totals, setup.adjacency, setup.sampler, *indices)


def with_evaluation(setup: Setup, steps: int):
    """What `after` gives, and all programs."""
    programs = Programs.compile(setup, setup.initial_snapshot())
    return after(setup, steps, programs.block), programs


@pytest.mark.parametrize(
    ("mesh", "sampler"),
    [
        ("data:2", "user"),
        ("nodes:3", "edge"),
        ("data:2,nodes:4", "edge"),
        pytest.param("data:2,nodes:4", "user", marks=pytest.mark.long),
    ],
)
def test_twenty_steps_and_an_evaluation_are_those_of_one_device(small, mesh, sampler):
    found, expected = (setup_on(small, spec, sampler=sampler, batch_size=120) for spec in (mesh, "data:1"))
    (state, totals), programs = with_evaluation(found, 20)
    (state_of_one, totals_of_one), programs_of_one = with_evaluation(expected, 20)
    assert found.steps_per_epoch == expected.steps_per_epoch
    np.testing.assert_allclose(found.table(state.params), expected.table(state_of_one.params), rtol=0, atol=1e-5)
    for name, value in totals._asdict().items():
        np.testing.assert_allclose(jax.tree.leaves(value), jax.tree.leaves(getattr(totals_of_one, name)), rtol=1e-5)
    metrics = []
    for setup, run, params in ((found, programs, state.params), (expected, programs_of_one, state_of_one.params)):
        sums = run.evaluate(params, setup.adjacency, setup.task)
        metrics.append(ranking.mean_metrics(sums, setup.task, setup.config.evaluation.top_k))
    assert found.steps_per_epoch > 20
    assert metrics[0] == pytest.approx(metrics[1], abs=2e-3)  # single hits may move where scores are equal to 1e-6
    assert metrics[0]["recall@20"] > 0


def test_twenty_steps_that_round_to_bfloat16_are_those_of_one_device(small):
    """Cut over `data`, the same sums are rounded; over `nodes`, their order may now and then flip a rounding."""
    settings = {"propagation_dtype": "bfloat16", "batch_size": 120}
    one = setup_on(small, "data:1", **settings)
    expected = one.table(after(one, 20)[0].params)
    for mesh, tolerance in (("data:2", 1e-6), ("data:2,nodes:4", 1e-5)):
        setup = setup_on(small, mesh, **settings)
        params = after(setup, 20)[0].params
        np.testing.assert_allclose(setup.table(params), expected, rtol=0, atol=tolerance, err_msg=mesh)
        parts = {}
        for shard in params["table"][...].addressable_shards:
            parts.setdefault(str(shard.index), []).append(np.asarray(shard.data))
        for replicas in parts.values():
            assert len(replicas) == 2
            np.testing.assert_array_equal(*replicas)


@pytest.mark.parametrize("platforms", [("cpu",), ()])
def test_a_table_travels_over_data_only_where_a_layout_may_give_other_bits(small, monkeypatch, platforms):
    monkeypatch.setattr(BcsrLayout, "DETERMINISTIC", platforms)
    setup = setup_on(small, "data:2", num_layers=1)
    text = compile_block(setup, setup.initial_snapshot()).as_text()
    gathered = [line for line in text.splitlines() if " all-gather(" in line]
    reduced = [line for line in text.splitlines() if " all-reduce(" in line]
    table = f"f32[{setup.order.num_rows},16]"
    assert gathered
    assert reduced
    assert not any(table in line for line in gathered)
    assert any(table in line for line in reduced) == (not platforms)


ON_CPU = [name for name, layout in propagation.LAYOUTS.items() if "cpu" in layout.PLATFORMS]


@pytest.mark.parametrize("layout", ON_CPU)
def test_every_layout_can_be_cut(small, layout):
    """Three steps on four devices, each with blocks of this layout, are those of one device with the default one."""
    settings = {"batch_size": 240, "num_layers": 2}
    found, expected = (
        setup_on(small, "data:2,nodes:2", propagation=layout, **settings),
        setup_on(small, "data:1", **settings),
    )
    assert [type(block) for block in found.adjacency.layout.blocks] == [propagation.LAYOUTS[layout]] * 2
    initial = expected.table(expected.init_state().params)
    (state, totals), (state_of_one, totals_of_one) = (after(setup, 3) for setup in (found, expected))
    table, table_of_one = found.table(state.params), expected.table(state_of_one.params)
    np.testing.assert_allclose(table, table_of_one, rtol=0, atol=1e-5)
    assert np.abs(table_of_one - initial).max() > 1e-3  # a hundred times as far
    assert totals.sums.keys() == totals_of_one.sums.keys()  # loss, terms, norm of the gradient
    for name, value in totals.sums.items():
        np.testing.assert_allclose(value, totals_of_one.sums[name], rtol=1e-5)


@pytest.mark.parametrize("sampler", ["user", "edge"])
@pytest.mark.parametrize("mesh", ["nodes:3", "data:2,nodes:4"])
def test_all_devices_draw_the_triples_of_one(small, mesh, sampler):
    def drawn(setup):
        draw = setup.mesh.shard_map(lambda sampler, key: sampler.draw(key, jnp.int32(2), 240), *specs)
        return jax.jit(draw)(setup.sampler, setup.mesh.replicate(jax.random.key(1)))

    specs = (PER_DEVICE, WHOLE), WHOLE
    found, expected = (drawn(setup_on(small, spec, sampler=sampler)) for spec in (mesh, "data:1"))
    for name in Batch._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_no_device_holds_the_whole_table_or_graph(small):
    # A batch of few rows: those of a whole batch are on every device.
    setup = setup_on(small, "data:2,nodes:4", batch_size=32)
    (state, _), programs = with_evaluation(setup, 1)
    tables = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert len(tables) == 3  # the table and Adam's two moments
    for table in tables:
        assert table.sharding.spec == ROWS
        assert {shard.data.shape for shard in table.addressable_shards} == {(setup.order.num_rows // 4, 16)}
    pairs = datasets.load(setup.config.data).train.nnz
    for tree, entries in ((setup.adjacency.layout, 2 * pairs), (setup.sampler.pairs, pairs), (setup.task, pairs)):
        for leaf in jax.tree.leaves(tree):
            assert leaf.sharding.spec == PER_DEVICE
            assert max(shard.data.size for shard in leaf.addressable_shards) < 0.5 * entries
    one = setup_on(small, "data:1", batch_size=32)
    before = compile_block(one, one.initial_snapshot()).memory_analysis().temp_size_in_bytes
    assert programs.block.memory_analysis().temp_size_in_bytes < before
    whole = f"f32[{setup.order.num_rows},16]"
    assert not any(whole in program.as_text() for program in (programs.block, programs.evaluate))


def test_rows_are_dealt_so_that_edges_are_balanced(small):
    setup = setup_on(small, "nodes:4", propagation="bcsr")
    edges = np.zeros(4, int)
    for block in setup.adjacency.layout.blocks:
        edges += np.asarray(block.starts)[0, :, -1]
    assert edges.sum() == 2 * datasets.load(setup.config.data).train.nnz
    assert edges.max() < 1.05 * edges.mean()


@pytest.mark.parametrize("mesh", ["data:2", "nodes:3", "data:2,nodes:4"])
def test_final_embeddings_are_those_of_one_device(small, mesh):
    found, one = (setup_on(small, spec, batch_size=240) for spec in (mesh, "data:1"))
    np.testing.assert_allclose(
        found.final_embeddings(found.init_state().params),
        one.final_embeddings(one.init_state().params),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("mesh", ["data:1", "data:2", "nodes:3", "data:2,nodes:4"])
def test_states_go_to_the_order_of_ids_and_back(small, mesh):
    setup = setup_on(small, mesh)
    state = setup.init_state()
    to_node_order = setup.to_node_order(state)
    expected = setup_on(small, "data:1", node_order="natural").init_state().params["table"][...]
    np.testing.assert_array_equal(np.asarray(to_node_order.params["table"][...])[: len(expected)], expected)
    back = setup.to_row_order(to_node_order)
    for found, leaf in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(found, leaf)
        assert found.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), to_node_order)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), setup.abstract_state().state) == described


def test_more_places_than_items_and_lists_longer_than_a_place(small):
    """Eight places on the axis `nodes`, five items: three places have none, and no place has as many as a list."""
    train = csr.from_pairs(np.arange(24) // 2, np.arange(24) * 7 % 5, (12, 5))
    test = csr.from_pairs(np.arange(12), (np.arange(12) * 4 + 3) % 5, (12, 5))
    test = csr.filter_entries(test, ~csr.isin(test, train, 5))
    data = Interactions("tiny", np.arange(12), np.arange(5), train, csr.empty(12), test)
    found = []
    for mesh in ("nodes:8", "data:1"):
        setup = build_setup(small.replace(mesh=mesh, batch_size=16, top_k=(3,), plateau_metric=""), data)
        (state, _), programs = with_evaluation(setup, 2)
        sums = programs.evaluate(state.params, setup.adjacency, setup.task)
        found.append(ranking.mean_metrics(sums, setup.task, (3,)))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_exchanged_rows_are_an_index_and_zero_where_there_is_none():
    mesh = Mesh.of("nodes:4")
    x = np.arange(32.0).reshape(16, 2)
    rows = np.array([15, 0, 3, -1, 8, 8, 2, 9], np.int32)
    move = mesh.shard_map(lambda x, rows: ring_gather(x, rows, NODES), (ROWS, ROWS), ROWS)
    found = jax.jit(move)(*jax.device_put((x, rows), mesh.sharding(ROWS)))
    np.testing.assert_array_equal(found, np.where(rows[:, None] >= 0, x[rows], 0))


def test_a_whole_run_on_a_mesh_is_that_on_one_device(small):
    results = [loop.fit(setup_on(small, mesh)) for mesh in ("data:2,nodes:2", "data:1")]
    np.testing.assert_allclose(results[0].table, results[1].table, rtol=0, atol=1e-4)
    assert results[0].best["recall@20"] == pytest.approx(results[1].best["recall@20"], abs=5e-3)


def test_more_devices_than_there_are_are_refused(small):
    with pytest.raises(InputError, match=r"--mesh: found data:4,nodes:4: 16 devices, expected at most 8"):
        setup_on(small, "data:4,nodes:4")


@pytest.mark.parametrize("spec", ["data:0", "rows:2", "data:2,data:2", "data=2", "nodes:2,data:2", "data:1,nodes:-1"])
def test_a_mesh_of_another_form_is_refused(small, spec):
    with pytest.raises(InputError, match="--mesh"):
        small.replace(mesh=spec)


def test_a_batch_that_cannot_be_cut_is_refused(small):
    setup = setup_on(small, "data:3", batch_size=240)
    uneven = dataclasses.replace(setup, config=setup.config.replace(batch_size=256))
    for train in (lambda: setup_on(small, "data:3"), lambda: loop.fit(uneven)):
        with pytest.raises(
            InputError, match=r"--batch_size: found 256, expected a multiple of 3, the size of the axis"
        ):
            train()


def test_ties_go_to_the_lower_id_wherever_the_items_are(small):
    """With equal scores everywhere, each user's list is the first unseen items."""
    setup, one = setup_on(small, "data:2,nodes:3", batch_size=240), setup_on(small, "data:1")
    sums = []
    for case in (setup, one):
        params = jax.tree.map(jnp.zeros_like, case.init_state().params)
        evaluate = jax.jit(make_evaluate(case, case.graphdef()))
        found = evaluate(params, case.adjacency, case.task)
        sums.append(ranking.mean_metrics(found, case.task, case.config.evaluation.top_k))
    assert sums[0] == pytest.approx(sums[1], abs=1e-7)


def test_a_run_moves_between_meshes_through_its_checkpoints(tmp_path, monkeypatch):
    """From three places to one, to four devices, and back to one; 499 nodes are padded to other numbers each time."""
    world = ["--dataset=synthetic", "--num_users=300", "--num_items=199", "--num_interactions=5000", "--top_k=20"]
    model = ["--num_layers=1", "--embedding_dim=8", "--batch_size=240", "--eval_every=1", "--save_every=1", "--quiet"]
    shapes = []

    def noted(*arguments):
        setup = build_setup(*arguments)
        shapes.append((setup.mesh.data, setup.mesh.nodes))
        return setup

    monkeypatch.setattr(session, "build_setup", noted)
    for epochs, mesh in ((1, "nodes:3"), (2, "data:1"), (3, "data:2,nodes:2"), (4, "nodes:1")):
        more = [f"--epochs={epochs}", f"--mesh={mesh}"]
        assert main.main(["train", *world, *model, f"--workdir={tmp_path / 'moved'}", *more]) == 0
    assert main.main(["train", *world, *model, f"--workdir={tmp_path / 'still'}", "--epochs=4"]) == 0
    assert shapes == [(1, 3), (1, 1), (2, 2), (1, 1), (1, 1)]
    moved, still = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("moved", "still")
    )
    assert len(moved) == 8
    for found, expected in zip(moved, still, strict=True):
        for name, value in expected.items():
            if name in ("epoch", "split"):
                assert found[name] == value
            elif name != "seconds":  # single hits may move where scores are equal to 1e-6
                assert found[name] == pytest.approx(value, **({"abs": 2e-3} if "@" in name else {"rel": 1e-5})), name


def test_a_lost_process_is_not_taken_for_a_missing_platform(monkeypatch):
    """JAX meets the other processes while it looks for devices; what says that one is gone is told as that."""

    def gone():
        raise RuntimeError("Unable to initialize backend 'cpu': UNAVAILABLE: Connection reset by peer")

    monkeypatch.setattr(jax, "devices", gone)
    with pytest.raises(RuntimeError, match="Connection reset") as error:
        require_devices()
    assert not isinstance(error.value, InputError)

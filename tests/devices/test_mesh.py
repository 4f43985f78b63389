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
from lgcn_jax.devices.mesh import NODES, PARTS, ROWS, WHOLE, Mesh, exchanged
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import ranking
from lgcn_jax.graph import propagation
from lgcn_jax.graph.layout import Bcsr
from lgcn_jax.sampling.samplers import Triples
from lgcn_jax.training import loop
from lgcn_jax.training import setup as problems
from lgcn_jax.training.programs import Programs, make_evaluate
from lgcn_jax.training.setup import Problem, pose


def posed(config, mesh: str, **settings) -> Problem:
    config = dataclasses.replace(config, mesh=mesh, **settings)
    return pose(config, datasets.load(config))


def after(problem: Problem, steps: int):
    """The snapshot after some steps of the first epoch."""
    start = problem.start()
    places = problem.mesh.put((jax.random.key(7), np.int32(0), np.int32(steps)))
    programs = Programs.compile(problem, start)
    return programs.block(start.state, start.totals, problem.adjacency, problem.sampler, *places), programs


@pytest.mark.parametrize(
    ("mesh", "sampler"),
    [("data:2", "user"), ("nodes:3", "edge"), ("data:2,nodes:4", "edge"), ("data:2,nodes:4", "user")],
)
def test_twenty_steps_and_an_evaluation_are_those_of_one_device(small, mesh, sampler):
    found, expected = (posed(small, spec, sampler=sampler, batch_size=120) for spec in (mesh, "data:1"))
    (state, totals), programs = after(found, 20)
    (state_of_one, totals_of_one), programs_of_one = after(expected, 20)
    assert found.steps_per_epoch == expected.steps_per_epoch
    np.testing.assert_allclose(found.table(state.params), expected.table(state_of_one.params), rtol=0, atol=1e-5)
    for name, value in totals._asdict().items():
        np.testing.assert_allclose(jax.tree.leaves(value), jax.tree.leaves(getattr(totals_of_one, name)), rtol=1e-5)
    metrics = []
    for problem, run, params in ((found, programs, state.params), (expected, programs_of_one, state_of_one.params)):
        sums = run.evaluate(params, problem.adjacency, problem.task)
        metrics.append(ranking.mean(sums, problem.task, problem.config.top_k))
    assert found.steps_per_epoch > 20
    assert metrics[0] == pytest.approx(metrics[1], abs=2e-3)  # single hits may move where scores are equal to 1e-6
    assert metrics[0]["recall@20"] > 0


def test_twenty_steps_that_round_to_bfloat16_are_those_of_one_device(small):
    """Cut over `data`, the same sums are rounded; over `nodes`, their order may now and then flip a rounding."""
    settings = {"propagation_dtype": "bfloat16", "batch_size": 120}
    one = posed(small, "data:1", **settings)
    expected = one.table(after(one, 20)[0][0].params)
    for mesh, tolerance in (("data:2", 1e-6), ("data:2,nodes:4", 1e-5)):
        problem = posed(small, mesh, **settings)
        params = after(problem, 20)[0][0].params
        np.testing.assert_allclose(problem.table(params), expected, rtol=0, atol=tolerance, err_msg=mesh)
        parts = {}
        for shard in params["table"][...].addressable_shards:
            parts.setdefault(str(shard.index), []).append(np.asarray(shard.data))
        for replicas in parts.values():
            assert len(replicas) == 2
            np.testing.assert_array_equal(*replicas)


@pytest.mark.parametrize("platforms", [("cpu",), ()])
def test_a_table_travels_over_data_only_where_a_layout_may_give_other_bits(small, monkeypatch, platforms):
    monkeypatch.setattr(Bcsr, "DETERMINISTIC", platforms)
    problem = posed(small, "data:2", num_layers=1)
    text = Programs.compile(problem, problem.start()).block.as_text()
    gathered = [line for line in text.splitlines() if " all-gather(" in line]
    reduced = [line for line in text.splitlines() if " all-reduce(" in line]
    table = f"f32[{problem.order.num_rows},16]"
    assert gathered
    assert reduced
    assert not any(table in line for line in gathered)
    assert any(table in line for line in reduced) == (not platforms)


ON_CPU = [name for name, layout in propagation.LAYOUTS.items() if "cpu" in layout.PLATFORMS]


@pytest.mark.parametrize("layout", ON_CPU)
def test_every_layout_can_be_cut(small, layout):
    """Three steps on four devices, each with blocks of this layout, are those of one device with the default one."""
    settings = {"batch_size": 240, "num_layers": 2}
    found, expected = posed(small, "data:2,nodes:2", propagation=layout, **settings), posed(small, "data:1", **settings)
    assert [type(block) for block in found.adjacency.layout.blocks] == [propagation.LAYOUTS[layout]] * 2
    initial = expected.table(expected.fresh().params)
    (state, totals), (state_of_one, totals_of_one) = (after(problem, 3)[0] for problem in (found, expected))
    table, table_of_one = found.table(state.params), expected.table(state_of_one.params)
    np.testing.assert_allclose(table, table_of_one, rtol=0, atol=1e-5)
    assert np.abs(table_of_one - initial).max() > 1e-3  # a hundred times as far
    np.testing.assert_allclose(totals.sums, totals_of_one.sums, rtol=1e-5)  # loss, terms, norm of the gradient


@pytest.mark.parametrize("sampler", ["user", "edge"])
@pytest.mark.parametrize("mesh", ["nodes:3", "data:2,nodes:4"])
def test_all_devices_draw_the_triples_of_one(small, mesh, sampler):
    def drawn(problem):
        draw = problem.mesh.mapped(lambda sampler, key: sampler.draw(key, jnp.int32(2), 240), *specs)
        return jax.jit(draw)(problem.sampler, problem.mesh.put(jax.random.key(1)))

    specs = (PARTS, WHOLE), WHOLE
    found, expected = (drawn(posed(small, spec, sampler=sampler)) for spec in (mesh, "data:1"))
    for name in Triples._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_no_device_holds_the_whole_table_or_graph(small):
    # A batch of few rows: those of a whole batch are on every device.
    problem = posed(small, "data:2,nodes:4", batch_size=32)
    (state, _), programs = after(problem, 1)
    tables = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert len(tables) == 3  # the table and Adam's two moments
    for table in tables:
        assert table.sharding.spec == ROWS
        assert {shard.data.shape for shard in table.addressable_shards} == {(problem.order.num_rows // 4, 16)}
    pairs = datasets.load(problem.config).train.nnz
    for tree, entries in ((problem.adjacency.layout, 2 * pairs), (problem.sampler.owned, pairs), (problem.task, pairs)):
        for leaf in jax.tree.leaves(tree):
            assert leaf.sharding.spec == PARTS
            assert max(shard.data.size for shard in leaf.addressable_shards) < 0.5 * entries
    one = posed(small, "data:1", batch_size=32)
    before = after(one, 1)[1].block.memory_analysis().temp_size_in_bytes
    assert programs.block.memory_analysis().temp_size_in_bytes < before
    whole = f"f32[{problem.order.num_rows},16]"
    assert not any(whole in program.as_text() for program in programs)


def test_rows_are_dealt_so_that_edges_are_balanced(small):
    problem = posed(small, "nodes:4", propagation="bcsr")
    edges = np.zeros(4, int)
    for block in problem.adjacency.layout.blocks:
        edges += np.asarray(block.starts)[0, :, -1]
    assert edges.sum() == 2 * datasets.load(problem.config).train.nnz
    assert edges.max() < 1.05 * edges.mean()


@pytest.mark.parametrize("mesh", ["data:1", "data:2", "nodes:3", "data:2,nodes:4"])
def test_states_go_to_the_order_of_ids_and_back(small, mesh):
    problem = posed(small, mesh)
    state = problem.fresh()
    by_node = problem.by_node(state)
    expected = posed(small, "data:1", node_order="natural").fresh().params["table"][...]
    np.testing.assert_array_equal(np.asarray(by_node.params["table"][...])[: len(expected)], expected)
    back = problem.by_row(by_node)
    for found, leaf in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(found, leaf)
        assert found.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), by_node)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), problem.like().state) == described


def test_more_places_than_items_and_lists_longer_than_a_place(small):
    """Eight places on the axis `nodes`, five items: three places have none, and no place has as many as a list."""
    train = csr.from_pairs(np.arange(24) // 2, np.arange(24) * 7 % 5, (12, 5))
    test = csr.from_pairs(np.arange(12), (np.arange(12) * 4 + 3) % 5, (12, 5))
    test = csr.select(test, ~csr.isin(test, train, 5))
    data = Interactions("tiny", np.arange(12), np.arange(5), train, csr.empty(12), test)
    found = []
    for mesh in ("nodes:8", "data:1"):
        problem = pose(dataclasses.replace(small, mesh=mesh, batch_size=16, top_k=(3,), plateau_metric=""), data)
        (state, _), programs = after(problem, 2)
        sums = programs.evaluate(state.params, problem.adjacency, problem.task)
        found.append(ranking.mean(sums, problem.task, (3,)))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_exchanged_rows_are_an_index_and_zero_where_there_is_none():
    mesh = Mesh.of("nodes:4")
    x = np.arange(32.0).reshape(16, 2)
    rows = np.array([15, 0, 3, -1, 8, 8, 2, 9], np.int32)
    move = mesh.mapped(lambda x, rows: exchanged(x, rows, NODES), (ROWS, ROWS), ROWS)
    found = jax.jit(move)(*jax.device_put((x, rows), mesh.sharding(ROWS)))
    np.testing.assert_array_equal(found, np.where(rows[:, None] >= 0, x[rows], 0))


def test_a_whole_run_on_a_mesh_is_that_on_one_device(small):
    results = [loop.fit(posed(small, mesh)) for mesh in ("data:2,nodes:2", "data:1")]
    np.testing.assert_allclose(results[0].table, results[1].table, rtol=0, atol=1e-4)
    assert results[0].best["recall@20"] == pytest.approx(results[1].best["recall@20"], abs=5e-3)


def test_more_devices_than_there_are_are_refused(small):
    with pytest.raises(InputError, match=r"--mesh: found data:4,nodes:4: 16 devices, expected at most 8"):
        posed(small, "data:4,nodes:4")


@pytest.mark.parametrize("spec", ["data:0", "rows:2", "data:2,data:2", "data=2", "nodes:2,data:2", "data:1,nodes:-1"])
def test_a_mesh_of_another_form_is_refused(small, spec):
    with pytest.raises(InputError, match="--mesh"):
        dataclasses.replace(small, mesh=spec)


def test_a_batch_that_cannot_be_cut_is_refused(small):
    problem = posed(small, "data:3", batch_size=240)
    uneven = dataclasses.replace(problem, config=dataclasses.replace(problem.config, batch_size=256))
    for train in (lambda: posed(small, "data:3"), lambda: loop.fit(uneven)):
        with pytest.raises(
            InputError, match=r"--batch_size: found 256, expected a multiple of 3, the size of the axis"
        ):
            train()


def test_ties_go_to_the_lower_id_wherever_the_items_are(small):
    """With equal scores everywhere, each user's list is the first unseen items."""
    problem, one = posed(small, "data:2,nodes:3", batch_size=240), posed(small, "data:1")
    sums = []
    for posed_problem in (problem, one):
        params = jax.tree.map(jnp.zeros_like, posed_problem.fresh().params)
        evaluate = jax.jit(make_evaluate(posed_problem, posed_problem.graphdef()))
        found = evaluate(params, posed_problem.adjacency, posed_problem.task)
        sums.append(ranking.mean(found, posed_problem.task, posed_problem.config.top_k))
    assert sums[0] == pytest.approx(sums[1], abs=1e-7)


def test_a_run_moves_between_meshes_through_its_checkpoints(tmp_path, monkeypatch):
    """From three places to one, to eight devices, and back to one; 499 nodes are padded to other numbers each time."""
    world = ["--dataset=synthetic", "--num_users=300", "--num_items=199", "--num_interactions=5000", "--top_k=20"]
    model = ["--num_layers=1", "--embedding_dim=8", "--batch_size=240", "--eval_every=1", "--save_every=1", "--quiet"]
    shapes, pose = [], problems.pose

    def noted(*arguments):
        posed = pose(*arguments)
        shapes.append((posed.mesh.data, posed.mesh.nodes))
        return posed

    monkeypatch.setattr(problems, "pose", noted)
    for epochs, mesh in ((1, "nodes:3"), (2, "data:1"), (3, "data:2,nodes:4"), (4, "nodes:1")):
        more = [f"--epochs={epochs}", f"--mesh={mesh}"]
        assert main.main(["train", *world, *model, f"--workdir={tmp_path / 'moved'}", *more]) == 0
    assert main.main(["train", *world, *model, f"--workdir={tmp_path / 'still'}", "--epochs=4"]) == 0
    assert shapes == [(1, 3), (1, 1), (2, 4), (1, 1), (1, 1)]
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

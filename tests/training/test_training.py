"""The story of a run: steps, blocks, epochs, devices, and a world whose right answer is known."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from events_of import pairs

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import assemble
from lgcn_jax.errors import InputError
from lgcn_jax.losses import BPR
from lgcn_jax.sampling import Batch
from lgcn_jax.training import loop, programs
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import table_on_host, table_sha256, zero_totals
from lgcn_jax.training.step import make_train_step, named_key


@pytest.fixture
def setup(small) -> Setup:
    return build_setup(small, datasets.load(small.data))


def stepper(setup, **options):
    return make_train_step(setup.config, setup.graphdef(), setup.num_users, **options), setup.init_state()


def batch(setup, step: int, size: int) -> Batch:
    return setup.sampler.draw(jax.random.key(step), jnp.int32(0), size)


def close(found, expected, tolerance):
    np.testing.assert_allclose(table_on_host(found), table_on_host(expected), rtol=0, atol=tolerance)


# Loss, its three terms, norm of the gradient, and the sum of the table's magnitudes. A change of them means that the
# initial table, the sampler's draws, the loss or the optimizer is another one: runs before and after are not
# comparable, which the changelog has to say.
GOLDEN = [0.711790681, 0.717526138, 0.688727081, 0.243170708, 0.00634621503, 646.682007]


def test_one_step_gives_the_golden_numbers(setup):
    step, state = stepper(setup)
    key = jax.random.fold_in(named_key(setup.config.training.seed, "data"), 1)
    drawn = setup.sampler.draw(key, jnp.int32(0), setup.config.training.batch_size)
    state, metrics = jax.jit(step)(state, setup.adjacency, drawn)
    names = ("loss", "loss_ranking", "loss_contrastive", "loss_l2", "grad_norm")
    found = [*(float(metrics[name]) for name in names), float(np.abs(table_on_host(state.params)).sum())]
    assert found == pytest.approx(GOLDEN, rel=1e-5)


def test_the_first_loss_is_that_of_equal_scores(setup):
    """With a tiny table all scores are 0: softplus(margin) for the ranking, log 2 for the contrast."""
    config = setup.config.replace(init_std=1e-6, l2=0.0)
    setup = dataclasses.replace(setup, config=config)
    step, state = stepper(setup)
    _, metrics = jax.jit(step)(state, setup.adjacency, batch(setup, 0, 64))
    expected = 0.8 * np.log1p(np.exp(0.05)) + 0.2 * np.log(2)
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-5)


def test_types_do_not_change_over_a_step(setup):
    step, state = stepper(setup)
    after, _ = jax.eval_shape(step, state, setup.adjacency, batch(setup, 0, 8))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(lambda a: (a.shape, a.dtype), state)


def test_padding_changes_nothing(setup):
    step, state = stepper(setup)
    step = jax.jit(step)
    whole = batch(setup, 0, 10)
    padded = Batch(*(jnp.concatenate([column, column[:3]]) for column in whole[:3]), jnp.repeat(jnp.float32(1), 13))
    padded = padded._replace(weight=padded.weight.at[10:].set(0))
    found, expected = step(state, setup.adjacency, padded), step(state, setup.adjacency, whole)
    close(found[0].params, expected[0].params, 1e-7)
    assert float(found[1]["loss"]) == pytest.approx(float(expected[1]["loss"]), rel=1e-6)


@pytest.mark.parametrize("padded", [0, 5])
def test_eight_devices_give_what_one_gives_on_all_their_batches(setup, padded):
    one, state = stepper(setup)
    mapped, _ = stepper(setup, axis_name="batch")
    one = jax.jit(one)
    many = jax.pmap(mapped, axis_name="batch", in_axes=(0, None, 0))
    states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (8, *leaf.shape)), state)
    for number in range(10):
        drawn = batch(setup, number, 8 * 32)
        drawn = drawn._replace(weight=drawn.weight.at[:padded].set(0))
        state, expected = one(state, setup.adjacency, drawn)
        states, found = many(
            states, setup.adjacency, jax.tree.map(lambda column: column.reshape(8, 32, *column.shape[1:]), drawn)
        )
        np.testing.assert_allclose(found["loss"], np.full(8, expected["loss"]), rtol=1e-5)
        np.testing.assert_allclose(found["grad_norm"], np.full(8, expected["grad_norm"]), rtol=1e-5)
    tables = np.asarray(states.params["table"][...])
    assert (tables == tables[0]).all()
    np.testing.assert_allclose(tables[0], table_on_host(state.params), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampler", ["user", "edge"])
def test_where_blocks_end_changes_no_bit(small, sampler):
    config = small.replace(sampler=sampler)
    setup = build_setup(config, datasets.load(config.data))
    key = jax.random.key(1)
    tables = []
    for cuts in ([0, 16], [0, 1, 2, 16], [0, 7, 16]):
        state, totals, _ = start = setup.initial_snapshot()
        compiled = Programs.compile(setup, start)
        for first, last in itertools.pairwise(cuts):
            places = jnp.int32(first), jnp.int32(last)
            state, totals = compiled.block(state, totals, setup.adjacency, setup.sampler, key, *places)
        tables.append((table_sha256(table_on_host(state.params)), float(totals.sums["loss"])))
    assert len(set(tables)) == 1


def test_every_epoch_draws_by_a_key_of_its_own(setup):
    """The same one in all of its blocks."""
    keys, here = [], setup.initial_snapshot()
    compiled = Programs.compile(setup, here)

    def block(*arguments):
        keys.append(tuple(jax.random.key_data(arguments[4]).tolist()))
        return compiled.block(*arguments)

    class Halves(loop.Listener):
        def limit_block(self, planned):
            return -(-planned // 2)

    per_epoch = []
    for _ in range(3):
        here = loop.train_epoch(setup, compiled._replace(block=block), here, Halves())
        per_epoch.append(set(keys))
        assert len(keys) > 1
        keys.clear()
    assert [len(found) for found in per_epoch] == [1, 1, 1]
    assert len(set.union(*per_epoch)) == 3


@pytest.mark.parametrize("sampler", ["user", "edge"])
def test_an_epoch_has_a_step_for_every_batch_and_for_the_rest(small, sampler):
    setup = build_setup(small.replace(sampler=sampler), datasets.load(small.data))
    pairs_of_all = datasets.load(small.data).train.nnz
    for size, steps in ((pairs_of_all, 1), (pairs_of_all - 1, 2), (pairs_of_all + 1, 1), (1, pairs_of_all)):
        config = setup.config.replace(batch_size=size)
        assert dataclasses.replace(setup, config=config).steps_per_epoch == steps


def test_a_run_makes_as_many_steps_as_its_epochs_have(setup):
    """4,130 draws in batches of 1,000: five steps an epoch, as Adam counts them."""
    config, ends = setup.config.replace(batch_size=1000, epochs=2), []

    class Ends(loop.Listener):
        def progress(self, epoch, step, steps, loss):
            ends.append((epoch, step, steps))

    result = loop.fit(dataclasses.replace(setup, config=config), Ends())
    assert 4000 < datasets.load(config.data).train.nnz < 5000
    assert [end for end in ends if end[1] == end[2]] == [(1, 5, 5), (2, 5, 5)]
    assert int(result.snapshot.state.optimizer.adam[1][0].count) == 10


def test_a_seed_determines_a_run_and_another_seed_another(setup):
    def digest(seed):
        config = setup.config.replace(seed=seed, epochs=2)
        return loop.fit(dataclasses.replace(setup, config=config)).to_json()["parameters_sha256"]

    assert digest(1) == digest(1) != digest(2)


def test_a_run_traces_its_step_once(setup, monkeypatch):
    traced = []
    make = programs.make_gradient_and_metrics

    def counting(*arguments, **options):
        gradient = make(*arguments, **options)

        @functools.wraps(gradient)
        def traced_gradient(*operands):
            traced.append(1)
            return gradient(*operands)

        return traced_gradient

    monkeypatch.setattr(programs, "make_gradient_and_metrics", counting)
    loop.fit(setup)
    assert len(traced) == 1


def test_later_epochs_and_evaluations_compile_nothing(setup):
    """The schedule acts, too: everything is compiled when the first epoch and evaluation are over."""
    config = setup.config.replace(epochs=6, eval_every=1, plateau_factor=0.5, plateau_patience=0)
    compiled, counts = [], []

    class Count(loop.Listener):
        def log(self, row):
            counts.append(len(compiled))

    def note(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        loop.fit(dataclasses.replace(setup, config=config), Count())
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert counts[0] >= len(Programs._fields)
    assert len(counts) == 12
    assert len(set(counts[2:])) == 1  # the schedule's update is compiled after the first evaluation's line


def test_epochs_and_evaluations_move_nothing_that_is_not_named(setup, monkeypatch):
    """On CPU the way to the host is not guarded, so turning an array into a Python number is forbidden as well."""
    config = setup.config.replace(plateau_factor=0.5, plateau_patience=0)
    calls, array = [], jnp.zeros(())

    def forbidden(self):
        raise AssertionError("an array was fetched in passing")

    def guarded(function):
        def call(*arguments):
            calls.append(function)
            with jax.transfer_guard("disallow"), monkeypatch.context() as patch:
                for name in ("__float__", "__int__", "__bool__", "__index__"):
                    patch.setattr(type(array), name, forbidden)
                return function(*arguments)

        return call

    for name in ("train_epoch", "evaluate_epoch"):
        monkeypatch.setattr(loop, name, guarded(getattr(loop, name)))
    loop.fit(dataclasses.replace(setup, config=config))
    assert len(calls) == 6


def test_a_transfer_that_is_not_named_is_noticed(setup):
    state, totals, _ = start = setup.initial_snapshot()
    compiled = Programs.compile(setup, start)
    data = state, totals, setup.adjacency, setup.sampler, jax.random.key(0)
    with jax.transfer_guard("disallow"), pytest.raises(jax.errors.JaxRuntimeError, match="host-to-device"):
        compiled.block(*data, np.int32(0), np.int32(1))


def test_a_block_is_given_the_memory_of_the_state_it_starts_from(setup):
    start = setup.initial_snapshot()
    compiled, before = Programs.compile(setup, start), start[:2]
    given = sum(leaf.nbytes for leaf in jax.tree.leaves(before))
    places = jnp.int32(0), jnp.int32(2)
    after = compiled.block(*before, setup.adjacency, setup.sampler, jax.random.key(0), *places)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert compiled.block.memory_analysis().alias_size_in_bytes >= given
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((setup.adjacency, setup.sampler)))


def test_no_temporary_holds_a_row_for_every_edge():
    config = Config.of(dataset="synthetic", num_users=300, num_items=200, num_interactions=20_000, batch_size=64)
    setup = build_setup(config, datasets.load(config.data))
    step, state = stepper(setup)
    compiled = jax.jit(step, donate_argnums=0).lower(state, setup.adjacency, batch(setup, 0, 64)).compile()
    edges_times_width = 2 * setup.sampler.num_examples * config.model.embedding_dim * 4
    assert compiled.memory_analysis().temp_size_in_bytes < edges_times_width / 4


def test_the_log_holds_every_epoch_and_evaluation_in_order(setup):
    rows = []

    class Log(loop.Listener):
        def log(self, row):
            rows.append(row)

    result = loop.fit(setup, Log())
    assert [(row["epoch"], row["split"]) for row in rows] == [
        *((1, "train"), (2, "train"), (2, "test"), (3, "train"), (4, "train"), (4, "test")),
    ]
    evaluated = [row for row in rows if row["split"] == "test"]
    assert result.last == evaluated[-1]
    assert result.best == max(evaluated, key=lambda row: row["recall@5"])


def test_the_checkerboard_is_completed(checkerboard):
    """Each user's one missing item of the own parity is ranked first, the other parity's items never."""
    config = Config.of(
        dataset="checkerboard", num_layers=2, embedding_dim=16, batch_size=64, epochs=60, eval_every=60, top_k=(1,)
    )
    result = loop.fit(build_setup(config.replace(learning_rate=0.05), checkerboard))
    assert result.last["recall@1"] == 1


def test_users_and_items_without_train_pairs_do_no_harm():
    """Nothing pulls at such users, and the metrics are those of the definitions."""
    train = [(user, item) for user in range(10) for item in range(8) if (user + item) % 2 == 0]
    data = assemble("gaps", pairs(train, listed=[20]), pairs([(0, 1), (3, 30), (21, 30), (21, 0)]))
    config = Config.of(dataset="gaps", num_layers=2, embedding_dim=4, batch_size=8, epochs=3, top_k=(1, 3))
    setup = build_setup(config.replace(learning_rate=0.1), data)
    initial, result = setup.table(setup.init_state().params), loop.fit(setup)
    moved = np.abs(result.table - initial).max(1) > 0
    assert moved[: data.num_users].tolist() == [True] * 10 + [False] * 2  # users 20 and 21
    expected = oracle.metrics(oracle.trained(result.table, data, 2), data, "test", (1, 3))
    assert {name: result.last[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert 0 < expected["recall@3"] < 1


def test_a_loss_that_is_no_number_is_named_with_its_place(setup):
    config = setup.config.replace(learning_rate=1e30)
    with pytest.raises(loop.NonFiniteError, match=r"is (nan|inf) at epoch \d+, step \d+"):
        loop.fit(dataclasses.replace(setup, config=config))


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ({"top_k": (201,)}, "--top_k"),
        ({"eval_split": "valid"}, "--eval_split"),
        ({"propagation": "cusparse"}, "--propagation: found cusparse, expected one of bcoo, bcsr, "),
    ],
)
def test_settings_that_the_data_or_platform_cannot_meet_are_refused(small, setting, flag):
    config = small.replace(plateau_metric="", **setting)
    with pytest.raises(InputError, match=flag):
        build_setup(config, datasets.load(config.data))


def test_data_without_a_possible_triple_is_refused():
    data = assemble("full", pairs([(0, 0), (0, 1)]), pairs([(1, 0)]))
    with pytest.raises(InputError, match="no user has both"):
        build_setup(Config.of(dataset="full", top_k=(1,)), data)


def test_a_sum_of_finite_losses_that_is_too_large_is_named():
    totals = zero_totals(BPR())._replace(sums=zero_totals(BPR()).sums | {"loss": np.float32(np.inf)})
    with pytest.raises(loop.NonFiniteError, match="the sum of loss is inf at epoch 3, step 7"):
        loop.require_finite(totals, BPR(), 3, 7)


def test_a_run_that_goes_on_draws_no_fresh_tables(setup, monkeypatch):
    half = loop.fit(dataclasses.replace(setup, config=setup.config.replace(epochs=2)))
    monkeypatch.setattr(Setup, "init_state", lambda self: pytest.fail("a second state beside the one that goes on"))
    assert loop.fit(setup, start=half.snapshot).snapshot.progress.epoch == 4


def test_the_schedule_hears_the_scheduled_evaluations_of_a_run(setup):
    """A metric that cannot rise any more halves the rate after every evaluation but the first."""
    config = setup.config.replace(epochs=4, eval_every=1, plateau_factor=0.5, plateau_patience=0, learning_rate=1e-9)
    rates = []

    class Rates(loop.Listener):
        def log(self, row):
            if row["split"] == "train":
                rates.append(row["learning_rate"] / 1e-9)

    loop.fit(dataclasses.replace(setup, config=config), Rates())
    assert rates == pytest.approx([1, 1, 0.5, 0.25], rel=1e-5)

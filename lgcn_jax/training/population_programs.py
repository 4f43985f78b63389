"""The compiled programs of a population: those of a run, mapped over members that stand side by side."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.errors import InputError
from lgcn_jax.graph.members import MemberLayout
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Nodes
from lgcn_jax.training import step
from lgcn_jax.training.members import FLAG, with_traced_settings
from lgcn_jax.training.population_setup import PopulationSetup, take_member
from lgcn_jax.training.population_state import MemberChunk
from lgcn_jax.training.programs import make_evaluate, make_renewal, make_step_gradient_and_metrics
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.step import make_update


class PopulationPrograms(NamedTuple):
    """Compiled ahead of time, once for all chunks.

    Attributes:
      block: (state, totals, adjacency, sampler, values, keys, first, last) -> (state, totals) after steps
        first..last - 1 of the epoch with these keys; donates state and totals.
      keys: (seeds, epoch) -> the keys of the members' epoch.
      evaluate: as of `Programs`, with a leading axis of members; None where nothing is evaluated.
      renew: (params, statistics, adjacency, counts, values, epoch) -> statistics of the loss at the beginning of the
        epoch, of those that it had before; None where it has none.
      keep: (improved, state, best) -> best, with the states of the members that improved; donates best.
      finite: params -> bool[width], whether all parameters of a member are finite numbers.
      put: (state, one, place) -> state with that of a member at its place; donates state. Compiled when it is needed.
    """

    block: Callable
    keys: Callable
    evaluate: Callable | None
    renew: Callable | None
    keep: Callable
    finite: Callable
    put: Callable

    @classmethod
    def compile(cls, population: PopulationSetup, like: MemberChunk) -> "PopulationPrograms":
        """The programs for the setup and chunks of the same shapes as `like`."""
        setup, width = population.setup, population.width
        values, place, axes = population.traced_settings(0), jax.device_put(np.int32(0)), population.member_axes
        keys = jax.jit(jax.vmap(step.epoch_key, in_axes=(0, None))).lower(values["seed"], np.uint32(0)).compile()
        found = keys(values["seed"], jax.device_put(np.uint32(1)))
        arguments = like.state, like.totals, setup.adjacency, setup.sampler, values, found, place, place
        block = jax.jit(make_block(population), donate_argnums=(0, 1)).lower(*arguments).compile()
        evaluate = renew = None
        if setup.task is not None:
            evaluate = (
                jax.jit(make_evaluation(population)).lower(like.state.params, setup.adjacency, setup.task).compile()
            )
        if setup.counts is not None:
            state = like.state
            arguments = state.params, state.statistics, setup.adjacency, setup.counts, values, place
            renew = jax.jit(make_renewals(population)).lower(*arguments).compile()
        keep = jax.jit(jax.vmap(_select, (0, axes, axes), axes), donate_argnums=2)
        keep = keep.lower(jax.device_put(np.ones(width, bool)), like.state, like.state).compile()
        finite = jax.jit(jax.vmap(_is_finite, (axes.params,))).lower(like.state.params).compile()
        return cls(block, keys, evaluate, renew, keep, finite, jax.jit(population.with_member_state, donate_argnums=0))


def make_block(population: PopulationSetup) -> Callable:
    """The function of `PopulationPrograms.block`, not compiled: the members' steps, with one product for all.

    Gradients and updates are mapped one after the other, so that tables have their members' axis where products have
    it: of arrays with other axes, JAX makes the first one of it.
    """
    setup, graphdef, axes = population.setup, population.setup.graphdef(), population.member_axes

    def block(state, totals, adjacency, sampler, values, keys, first, last):
        shared = Adjacency(MemberLayout(adjacency.layout), adjacency.row_of_node)

        def gradient(values, params, statistics, key, number):
            of_member = make_step_gradient_and_metrics(_member_setup(setup, values), graphdef)
            return of_member(params, statistics, shared, sampler, key, number)

        def update(values, state, totals, gradient, metrics, number):
            state, metrics = make_update(with_traced_settings(setup.config, values))(state, gradient, metrics)
            return state, totals.add(metrics, number)

        gradients = jax.vmap(gradient, (0, axes.params, axes.statistics, 0, None), (axes.params, 0))
        updates = jax.vmap(update, (0, axes, 0, axes.params, 0, None), (axes, 0))

        def step(number, carry):
            state, totals = carry
            found = gradients(values, state.params, state.statistics, keys, number)
            return updates(values, state, totals, *found, number)

        return jax.lax.fori_loop(first, last, step, (state, totals))

    return block


def make_evaluation(population: PopulationSetup) -> Callable:
    """The function of `PopulationPrograms.evaluate`, not compiled: member after member, as of a run."""
    evaluate, axes = make_evaluate(population.setup, population.setup.graphdef()), population.member_axes.params

    def evaluate_each(params, adjacency, task):
        def of_member(place):
            own = jax.tree.map(lambda leaf, axis: take_member(leaf, place, axis), params, axes)
            return evaluate(own, adjacency, task)

        return jax.lax.map(of_member, jnp.arange(population.width, dtype=jnp.int32))

    return evaluate_each


def make_renewals(population: PopulationSetup) -> Callable:
    """The function of `PopulationPrograms.renew`, not compiled: member after member, as of a run."""

    axes = population.member_axes.params, population.member_axes.statistics

    def renew_each(params, statistics, adjacency, counts, values, epoch):
        def of_member(place):
            own = {name: value[place] for name, value in values.items()}
            alone = jax.tree.map(lambda leaf, axis: take_member(leaf, place, axis), (params, statistics), axes)
            return make_renewal(_member_setup(population.setup, own))(*alone, adjacency, counts, epoch)

        found = jax.lax.map(of_member, jnp.arange(population.width, dtype=jnp.int32))
        return jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), found, axes[1])

    return renew_each


def make_initial(population: PopulationSetup) -> Callable:
    """(values, nodes of the rows) -> the members' states of epoch 0; not compiled."""
    setup = population.setup

    def initial(values, node):
        nodes = Nodes(node, setup.num_users, setup.num_items)
        made = jax.vmap(
            lambda own: step.init_train_state(with_traced_settings(setup.config, own), nodes)[1],
            0,
            population.member_axes,
        )
        return made(values)

    return initial


def require_traceable(population: PopulationSetup) -> None:
    """Raises an InputError that names a setting in which members differ, and which a program cannot take as an input.

    A loss that is written in terms of JAX takes any number; one that looks at it, to leave something out where it is 0,
    say, is compiled for that number.
    """
    values = population.traced_settings(0)
    for name in values.keys() - {"seed"}:
        try:
            _trace_step(population, {each: values[each] for each in ("seed", name)})
        except (jax.errors.JAXTypeError, jax.errors.UnexpectedTracerError, TypeError):
            found = "a setting that decides the compiled program of these members"
            raise InputError(f"{FLAG}: --{name}", found, "the same for all of them") from None


def _trace_step(population: PopulationSetup, values: Mapping[str, jax.Array]) -> None:
    """Traces a step of members with these values, and what begins it."""
    setup = population.setup

    def traced(values, node, adjacency, sampler, counts):
        state = make_initial(population)(values, node)
        if counts is not None:
            renew = make_renewals(population)
            statistics = renew(state.params, state.statistics, adjacency, counts, values, jnp.int32(1))
            state = state._replace(statistics=statistics)
        totals = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (population.width,)), setup.zero_totals())
        keys = jax.vmap(step.epoch_key, (0, None))(values["seed"], jnp.uint32(1))
        bounds = jnp.int32(0), jnp.int32(1)
        return make_block(population)(state, totals, adjacency, sampler, values, keys, *bounds)

    node = setup.put_row_values(setup.order.node_of_row)
    jax.eval_shape(traced, values, node, setup.adjacency, setup.sampler, setup.counts)


def _member_setup(setup: Setup, values: Mapping[str, jax.Array]) -> Setup:
    """The setup of a member with these traced settings."""
    return dataclasses.replace(setup, config=with_traced_settings(setup.config, values))


def _select(chosen: jax.Array, new: Any, old: Any) -> Any:
    """Of a member: `new` where it is chosen, else `old`."""
    return jax.tree.map(lambda new, old: jnp.where(chosen, new, old), new, old)


def _is_finite(params: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()

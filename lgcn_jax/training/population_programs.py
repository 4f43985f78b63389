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
from lgcn_jax.training.members import FLAG, with_values
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import Chunk
from lgcn_jax.training.programs import make_evaluate, make_renewal, make_step
from lgcn_jax.training.setup import Setup


class PopulationPrograms(NamedTuple):
    """Compiled ahead of time, once for all chunks.

    Attributes:
      block: (state, totals, adjacency, sampler, values, keys, active, first, last) -> (state, totals) after steps
        first..last - 1 of the epoch with these keys; members that are not active stay. Donates state and totals.
      keys: (seeds, epoch) -> the keys of the members' epoch.
      evaluate: as of `Programs`, with a leading axis of members; None where nothing is evaluated.
      renew: (state, adjacency, counts, values, active, epoch) -> state with the statistics of the loss at the beginning
        of the epoch; donates state. None where it has none.
      keep: (improved, state, best) -> best, with the states of the members that improved; donates best.
      finite: params -> bool[width], whether all parameters of a member are finite numbers.
    """

    block: Callable
    keys: Callable
    evaluate: Callable | None
    renew: Callable | None
    keep: Callable
    finite: Callable

    @classmethod
    def compile(cls, whole: PopulationSetup, like: Chunk) -> "PopulationPrograms":
        """The programs for the setup and chunks of the same shapes as `like`."""
        setup, width = whole.setup, whole.width
        values, place, active = whole.values(0), jax.device_put(np.int32(0)), jax.device_put(np.ones(width, bool))
        keys = jax.jit(jax.vmap(step.epoch_key, in_axes=(0, None))).lower(values["seed"], np.uint32(0)).compile()
        found = keys(values["seed"], jax.device_put(np.uint32(1)))
        arguments = like.state, like.totals, setup.adjacency, setup.sampler, values, found, active, place, place
        block = jax.jit(make_block(setup), donate_argnums=(0, 1)).lower(*arguments).compile()
        evaluate = renew = None
        if setup.task is not None:
            evaluate = jax.jit(make_evaluation(setup)).lower(like.state.params, setup.adjacency, setup.task).compile()
        if setup.counts is not None:
            arguments = like.state, setup.adjacency, setup.counts, values, active, place
            renew = jax.jit(make_renewals(setup), donate_argnums=0).lower(*arguments).compile()
        keep = jax.jit(_where, donate_argnums=2).lower(active, like.state, like.state).compile()
        finite = jax.jit(jax.vmap(_finite)).lower(like.state.params).compile()
        return cls(block, keys, evaluate, renew, keep, finite)


def make_block(setup: Setup) -> Callable:
    """The function of `PopulationPrograms.block`, not compiled: the members' steps, with one product for all."""
    graphdef = setup.graphdef()

    def block(state, totals, adjacency, sampler, values, keys, active, first, last):
        shared = Adjacency(MemberLayout(adjacency.layout), adjacency.row_of_node)

        def next_step(number, carry):
            def of_member(values, key, active, state, totals):
                advance = make_step(_of_member(setup, values), graphdef)
                found = advance(state, totals, shared, sampler, key, number)
                return _where(active, found, (state, totals))

            return jax.vmap(of_member)(values, keys, active, *carry)

        return jax.lax.fori_loop(first, last, next_step, (state, totals))

    return block


def make_evaluation(setup: Setup) -> Callable:
    """The function of `PopulationPrograms.evaluate`, not compiled: member after member, as of a run."""
    evaluate = make_evaluate(setup, setup.graphdef())

    def evaluate_each(params, adjacency, task):
        return jax.lax.map(lambda params: evaluate(params, adjacency, task), params)

    return evaluate_each


def make_renewals(setup: Setup) -> Callable:
    """The function of `PopulationPrograms.renew`, not compiled: member after member, as of a run."""

    def renew_each(state, adjacency, counts, values, active, epoch):
        def of_member(member):
            values, params = member
            return make_renewal(_of_member(setup, values))(params, adjacency, counts, epoch)

        statistics = jax.lax.map(of_member, (values, state.params))
        return _where(active, state._replace(statistics=statistics), state)

    return renew_each


def make_initial(setup: Setup) -> Callable:
    """(values, nodes of the rows) -> the members' states of epoch 0; not compiled."""

    def initial(values, node):
        nodes = Nodes(node, setup.num_users, setup.num_items)
        return jax.vmap(lambda own: step.init_train_state(with_values(setup.config, own), nodes)[1])(values)

    return initial


def require_traceable(whole: PopulationSetup) -> None:
    """Raises an InputError that names a setting in which members differ, and which a program cannot take as an input.

    A loss that is written in terms of JAX takes any number; one that looks at it, to leave something out where it is 0,
    say, is compiled for that number.
    """
    values = whole.values(0)
    for name in values.keys() - {"seed"}:
        try:
            jax.eval_shape(make_initial(whole.setup), {each: values[each] for each in ("seed", name)}, _rows(whole))
            _traced_step(whole.setup, {each: values[each] for each in ("seed", name)}, _rows(whole))
        except (jax.errors.JAXTypeError, jax.errors.UnexpectedTracerError, TypeError):
            found = "a setting that decides the compiled program of these members"
            raise InputError(f"{FLAG}: --{name}", found, "the same for all of them") from None


def _rows(whole: PopulationSetup) -> jax.Array:
    return whole.setup.put_rows(whole.setup.order.node_of_row)


def _traced_step(setup: Setup, values: Mapping[str, jax.Array], node: jax.Array) -> Any:
    """The shapes of a step of members with these values, and of what begins it."""

    def traced(values, node, adjacency, sampler, counts):
        state = make_initial(setup)(values, node)
        width = len(values["seed"])
        if counts is not None:
            state = make_renewals(setup)(state, adjacency, counts, values, jnp.ones(width, bool), jnp.int32(1))
        totals = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width,)), setup.zero_totals())
        keys = jax.vmap(step.epoch_key, in_axes=(0, None))(values["seed"], jnp.uint32(1))
        bounds = jnp.int32(0), jnp.int32(1)
        return make_block(setup)(state, totals, adjacency, sampler, values, keys, jnp.ones(width, bool), *bounds)

    return jax.eval_shape(traced, values, node, setup.adjacency, setup.sampler, setup.counts)


def _of_member(setup: Setup, values: Mapping[str, jax.Array]) -> Setup:
    """The setup of a member with these traced settings."""
    return dataclasses.replace(setup, config=with_values(setup.config, values))


def _where(chosen: jax.Array, new: Any, old: Any) -> Any:
    """Of each member `new` where it is chosen, else `old`."""

    def pick(new, old):
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (new.ndim - chosen.ndim)), new, old)

    return jax.tree.map(pick, new, old)


def _finite(params: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()

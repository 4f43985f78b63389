"""Sums of rows at repeated nodes.

On a CPU by scatter-add. Elsewhere without one: there it is atomic, so rows at the node of a hub wait for each other,
and come to their sum in no fixed order. Instead rows are sorted by node, equal nodes are summed in a few sweeps, each
of them gathers only, and each node is written once.
"""

import functools

import jax
import jax.numpy as jnp

RADIX = 8  # rows that one sweep adds up


def scatter_add(x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    """x [n, d] with `rows` [b, d] added at int32[b] `nodes`, repeats allowed."""
    return jax.lax.platform_dependent(x, rows, nodes, cpu=add_by_scatter, default=add_by_sort)


def coalesce(rows: jax.Array, nodes: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The same rows at the same nodes below `size`, but with one row that is not zero for each node: its last."""

    ways = {"cpu": coalesce_by_scatter, "default": coalesce_by_sort}
    return jax.lax.platform_dependent(
        rows, nodes, **{platform: functools.partial(way, size=size) for platform, way in ways.items()}
    )


def coalesce_by_scatter(rows: jax.Array, nodes: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """`coalesce` for a CPU."""
    return jnp.zeros_like(rows).at[last_occurrence(nodes, size)[nodes]].add(rows), nodes


def coalesce_by_sort(rows: jax.Array, nodes: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """`coalesce` for platforms on which a scatter-add is atomic."""
    del size
    rows, nodes, last = segment_sums(rows, nodes)
    return jnp.where(last[:, None], rows, 0), nodes


def last_occurrence(nodes: jax.Array, size: int) -> jax.Array:
    """int32[size]: where each node occurs last among `nodes`; -1: nowhere."""
    return jnp.full(size, -1, jnp.int32).at[nodes].max(jnp.arange(len(nodes), dtype=jnp.int32))


def add_by_scatter(x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    """`scatter_add` for a CPU."""
    return x.at[nodes].add(rows)


def add_by_sort(x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    """`scatter_add` for platforms on which a scatter-add is atomic."""
    rows, nodes, last = segment_sums(rows, nodes)
    outside = len(x) + jnp.arange(len(nodes), dtype=nodes.dtype)  # each another one, so that indices are unique
    return x.at[jnp.where(last, nodes, outside)].add(rows, unique_indices=True, mode="drop")


def segment_sums(rows: jax.Array, nodes: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows sorted by node, each the sum of its node's up to there; their nodes; and whether a row is its node's last.

    A sweep adds to each row the sums that end one to RADIX - 1 spans before it: after it a sum spans RADIX times as
    many rows. Between equal nodes all are equal, so a glance at both ends of a span is enough.
    """
    if not len(nodes):
        return rows, nodes, jnp.zeros(0, bool)
    order = jnp.argsort(nodes)
    rows, nodes, span = rows[order], nodes[order], 1
    while span < len(nodes):
        parts = [rows]
        for back in range(span, min(RADIX * span, len(nodes)), span):
            same = jnp.pad(nodes[:-back], (back, 0), constant_values=-1) == nodes
            parts.append(jnp.where(same[:, None], jnp.pad(rows[:-back], ((back, 0), (0, 0))), 0))
        rows, span = sum(parts), RADIX * span
    return rows, nodes, jnp.concatenate([nodes[1:] != nodes[:-1], jnp.ones(1, bool)])

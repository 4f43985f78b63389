"""The two kinds of arrays of a state: tables, which are cut over devices, and what all devices have the whole of."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


class Replicated(nnx.Param):
    """A parameter that belongs to no node, such as a matrix of weights: every device has all of it.

    Any other parameter has a row for each node, or no axis at all.
    """


def map_arrays(of_tables: Callable, of_others: Callable, tree: Any) -> Any:
    """The tree with `of_tables(array)` in place of each array of rows of nodes, and `of_others(array)` of the others.

    Others are those of `Replicated` parameters, in whatever state of an optimizer they stand, and scalars.
    """

    def mapped(node):
        whole = isinstance(node, Replicated)
        return jax.tree.map(lambda leaf: (of_tables if leaf.ndim and not whole else of_others)(leaf), node)

    return jax.tree.map(mapped, tree, is_leaf=lambda node: isinstance(node, Replicated))

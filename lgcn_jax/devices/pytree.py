"""Classes of arrays that JAX maps over, puts on devices and passes to programs."""

import dataclasses
import typing

import jax


@typing.dataclass_transform(frozen_default=True)
def pytree(cls):
    """Makes a class of annotated fields a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def static() -> typing.Any:
    """A field of a pytree that is no array but part of its type."""
    return dataclasses.field(metadata={"static": True})

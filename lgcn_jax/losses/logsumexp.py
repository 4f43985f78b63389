"""The logarithm of a sum of exponentials of very many scores, in memory that does not grow with their number."""

import jax
import jax.numpy as jnp

BLOCK = 2**22  # scores that are held at a time; below it, 2,048 x 2,048, one block is all


def num_block_scores(rows: int, columns: int) -> int:
    """How many scores are held at a time, and, if they are all in one block, kept for the backward pass."""
    return min(rows * columns, BLOCK)


@jax.custom_vjp
def logsumexp_of_products(
    rows: jax.Array, columns: jax.Array, offset: jax.Array, own: jax.Array, label: jax.Array
) -> jax.Array:
    """log sum_c exp(rows[b] . columns[c] + offset[c]) over the c with label[c] != own[b]: float[B], -inf for no c.

    The scores are computed in blocks of rows, where there are several in the backward pass once more, so that no more
    than about BLOCK of them are held. There is no gradient with respect to `offset`.

    Args:
      rows: float[B, d].
      columns: float[C, d].
      offset: float[C]; -inf takes a column out.
      own, label: int32[B] and int32[C].
    """
    return _map_blocks(_block_values, rows, own, columns, offset, label)


def _forward(rows, columns, offset, own, label):
    """In one block, the exponentials are kept for the backward pass; in many, their logarithmic sums are."""
    if _block_size(len(rows), len(columns)) < len(rows):
        found = logsumexp_of_products(rows, columns, offset, own, label)
        return found, (rows, columns, offset, own, label, found)
    found, exponentials, total = _block_sum(_scores(rows, own, columns, offset, label))
    return found, (rows, columns, exponentials, total)


def _backward(kept, gradient: jax.Array):
    found = (_backward_of_one if len(kept) == 4 else _backward_of_many)(kept, gradient)
    return *found, None, None, None


def _backward_of_one(kept, gradient: jax.Array):
    rows, columns, exponentials, total = kept
    share = jnp.where(total > 0, gradient / total, 0)[:, None]
    of_rows = share * jnp.matmul(exponentials, columns, precision="highest")
    return of_rows, _transposed_product(exponentials, share * rows)


def _backward_of_many(kept, gradient: jax.Array):
    rows, columns, offset, own, label, found = kept
    nothing, size = jnp.isneginf(found), _block_size(len(rows), len(columns))
    found, gradient = jnp.where(nothing, 0, found), jnp.where(nothing, 0, gradient)

    def step(sums, part):
        part_rows, part_own, part_found, part_gradient = part
        share = jnp.exp(_scores(part_rows, part_own, columns, offset, label) - part_found[:, None])
        share = share * part_gradient[:, None]
        sums = sums + _transposed_product(share, part_rows)
        return sums, jnp.matmul(share, columns, precision="highest")

    parts = tuple(_reshape_to_blocks(array, size) for array in (rows, own, found, gradient))
    of_columns, of_rows = jax.lax.scan(step, jnp.zeros_like(columns), parts)
    return of_rows.reshape(-1, rows.shape[1])[: len(rows)], of_columns


def _transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """left.T @ right, of a large left [b, C] and a narrow right [b, d]: by (right.T @ left).T.

    XLA's product on a CPU takes three times as long where it reads the large one across its rows. The barriers keep
    XLA from writing this as that.
    """
    narrow = jax.lax.optimization_barrier(right.T)
    return jax.lax.optimization_barrier(jnp.matmul(narrow, left, precision="highest")).T


logsumexp_of_products.defvjp(_forward, _backward)


def _map_blocks(function, rows: jax.Array, own: jax.Array, *columns: jax.Array) -> jax.Array:
    size = _block_size(len(rows), len(columns[0]))
    if size >= len(rows):
        return function(rows, own, *columns)
    found = jax.lax.map(
        lambda part: function(*part, *columns), (_reshape_to_blocks(rows, size), _reshape_to_blocks(own, size))
    )
    return found.reshape(-1)[: len(rows)]


def _block_values(rows: jax.Array, own: jax.Array, *columns: jax.Array) -> jax.Array:
    return _block_sum(_scores(rows, own, *columns))[0]


def _block_sum(scores: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logarithmic sums [b] of scores [b, C]; the exponentials and sums of what is left without their largest."""
    largest = scores.max(axis=1)
    largest = jnp.where(jnp.isneginf(largest), 0, largest)
    exponentials = jnp.exp(scores - largest[:, None])
    total = exponentials.sum(axis=1)
    return largest + jnp.log(total), exponentials, total


def _scores(rows: jax.Array, own: jax.Array, columns: jax.Array, offset: jax.Array, label: jax.Array) -> jax.Array:
    every = jnp.matmul(rows, columns.T, precision="highest") + offset[None, :]
    return jnp.where(label[None, :] == own[:, None], -jnp.inf, every)


def _block_size(rows: int, columns: int) -> int:
    """Rows of a block: all, or as many as have BLOCK scores."""
    return min(rows, max(1, BLOCK // columns))


def _reshape_to_blocks(array: jax.Array, size: int) -> jax.Array:
    """[B, ...] as [blocks, size, ...]; the last block is padded with zeros."""
    padding = -len(array) % size
    padded = jnp.pad(array, [(0, padding)] + [(0, 0)] * (array.ndim - 1))
    return padded.reshape(-1, size, *array.shape[1:])

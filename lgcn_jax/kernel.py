"""A layout for GPUs with a kernel of its own: rows in pieces of similar length, gathered and summed without atomics.

The kernel is written in Pallas for its Triton backend. On a CPU the same kernel is interpreted: slow, for tests.
"""

import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from lgcn_jax.layout import Layout, Matrix, Room, pytree, static

ROWS = 8  # pieces that one program sums at a time, a power of two
UNROLLED = 4  # neighbours of each piece per turn of its loop: so many gathers are in flight together
BLOCK = 128  # widest part of a row of x that a program takes, a power of two
WARP = 512  # numbers of a gathered block per warp: 16 for each thread


class Stage(NamedTuple):
    """Sums of gathered rows, for one launch of the kernel.

    Group g of ROWS pieces takes the turns from `turns[g]` to `turns[g + 1]`; a turn holds UNROLLED neighbours of each
    of the pieces, neighbour by neighbour, padded with zeros. Groups are ordered by length, so little of that is
    padding, and the longest start first.
    """

    turns: jax.Array  # int32[groups + 1]
    targets: jax.Array  # int32[groups * ROWS], where the piece's sum goes; past all ends: nowhere
    columns: jax.Array  # int32[turns * UNROLLED * ROWS]
    values: jax.Array  # float[turns * UNROLLED * ROWS]


@pytree
class Pieces(Layout):
    """Rows cut into pieces of at most WIDTH neighbours; a row of several pieces gets their sum in a second stage.

    No piece is long, so a hub holds nobody up. Each sum is that of one program in a fixed order, in the dtype of the
    matrix whatever that of x is, and no two programs write to one place: the product is deterministic.
    """

    pieces: Stage  # targets below num_rows are rows; num_rows + p is part p of a row of several pieces
    joins: Stage  # of the rows of several pieces; its columns are parts
    num_rows: int = static()
    num_parts: int = static()

    WIDTH: ClassVar[int] = 128
    PLATFORMS: ClassVar[tuple[str, ...]] = ("cpu", "gpu")
    NARROW: ClassVar[bool] = True

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        _, counts, parts = _cut(matrix.indptr, cls.WIDTH)
        return {"parts": _parts(parts), **_size("pieces", counts), **_size("joins", parts[parts > 1])}

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Pieces":
        room, num_rows = room or cls.room(matrix), matrix.shape[0]
        starts, counts, parts = _cut(matrix.indptr, cls.WIDTH)
        split, many = np.repeat(parts > 1, parts), np.flatnonzero(parts > 1)
        part = np.cumsum(split) - 1
        targets = np.where(split, num_rows + part, np.repeat(np.arange(num_rows), parts))
        entries = matrix.indices, matrix.data
        pieces = _stage("pieces", *entries, starts, counts, targets, num_rows + room["parts"], room)
        ones = np.arange(_parts(parts)), np.ones(_parts(parts), matrix.dtype)
        joined = parts[many]
        joins = _stage("joins", *ones, np.cumsum(joined) - joined, joined, many, num_rows, room)
        return cls(pieces, joins, num_rows, room["parts"])

    def product(self, x: jax.Array) -> jax.Array:
        dtype = self.pieces.values.dtype
        shapes = [jax.ShapeDtypeStruct((n, x.shape[1]), dtype) for n in (self.num_rows, self.num_parts)]
        if not self.num_parts:
            return _launch(self.pieces, x, shapes[:1])[0]
        rows, parts = _launch(self.pieces, x, shapes)
        return _launch(self.joins, parts, shapes[:1], rows)[0]


def _cut(starts: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of entries starts[r]..starts[r + 1] in pieces: where each starts, its entries, and each row's pieces."""
    degrees = np.diff(starts).astype(np.int64)
    parts = np.maximum(1, -(-degrees // width))  # a row without an entry is a piece too: of zeros
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    counts = np.minimum(width, np.repeat(degrees, parts) - width * within)
    return np.repeat(starts[:-1], parts) + width * within, counts, parts


def _parts(parts: np.ndarray) -> int:
    """How many of the pieces are not whole rows."""
    return int(parts[parts > 1].sum())


def _size(stage: str, counts: np.ndarray) -> Room:
    """The room that pieces of these lengths need: groups, and turns of them all."""
    longest = np.sort(counts)[::-1][::ROWS]
    return {f"{stage}: groups": max(1, len(longest)), f"{stage}: turns": max(1, int((-(-longest // UNROLLED)).sum()))}


def _stage(name: str, indices, data, starts, counts, targets, nowhere: int, room: Room) -> Stage:
    """Pieces of `counts` entries from `starts`, longest first, in the room of a stage; all arguments are int64[n]."""
    groups, turns = room[f"{name}: groups"], room[f"{name}: turns"]
    order = np.argsort(-counts, kind="stable")
    starts, counts, targets = starts[order], counts[order], targets[order]
    stops = np.cumsum(-(-counts[::ROWS] // UNROLLED))
    stops = np.pad(np.concatenate([[0], stops]), (0, groups - len(stops)), mode="edge")
    # Where each entry stands: its piece's place in the group, and after the neighbours before it.
    neighbour = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    piece = np.repeat(np.arange(len(counts)), counts)
    place = (stops[piece // ROWS] * UNROLLED + neighbour) * ROWS + piece % ROWS
    columns = np.zeros(turns * UNROLLED * ROWS, np.int32)
    values = np.zeros(len(columns), data.dtype)
    entry = starts[piece] + neighbour
    columns[place], values[place] = indices[entry], data[entry]
    targets = np.pad(targets, (0, groups * ROWS - len(targets)), constant_values=nowhere)
    return Stage(stops.astype(np.int32), targets.astype(np.int32), columns, values)


def _launch(stage: Stage, x: jax.Array, outputs: list[jax.ShapeDtypeStruct], *kept: jax.Array) -> list[jax.Array]:
    """The kernel on the platform that the program is compiled for. `kept` are outputs that it adds to."""

    def launch(*operands, interpret):
        block = min(BLOCK, pl.next_power_of_2(x.shape[1]))
        return pl.pallas_call(
            functools.partial(_sum, outputs=len(outputs), block=block),
            out_shape=outputs,
            grid=(len(stage.turns) - 1, pl.cdiv(x.shape[1], block)),
            input_output_aliases={len(stage) + 1 + i: i for i in range(len(kept))},
            compiler_params=triton.CompilerParams(num_warps=max(1, ROWS * block // WARP), num_stages=1),
            interpret=interpret,
        )(*operands)

    forms = {"cpu": functools.partial(launch, interpret=True), "default": functools.partial(launch, interpret=False)}
    return jax.lax.platform_dependent(*stage, x, *kept, **forms)


def _sum(turns, targets, columns, values, x, *others, outputs: int, block: int) -> None:
    """One program: the sums of a group of ROWS pieces, `block` of the columns of x."""
    group, lanes = pl.program_id(0), pl.program_id(1) * block + jnp.arange(block, dtype=jnp.int32)[None, :]
    dim = x.shape[1]
    inside = None if dim % block == 0 else jnp.broadcast_to(lanes < dim, (ROWS, block))

    def turn(number, total):
        for neighbour in range(UNROLLED):
            entries = pl.ds((number * UNROLLED + neighbour) * ROWS, ROWS)
            column, value = columns[entries], values[entries]
            gathered = triton.load(x.at[column[:, None], lanes], mask=inside, other=None if inside is None else 0)
            total = total + value[:, None] * gathered.astype(total.dtype)
        return total

    total = jax.lax.fori_loop(turns[group], turns[group + 1], turn, jnp.zeros((ROWS, block), values.dtype))
    target = targets[pl.ds(group * ROWS, ROWS)]
    for out in others[len(others) - outputs :]:
        here = (target >= 0) & (target < out.shape[0])
        # What belongs elsewhere is pointed past the end, and masked.
        place, mask = jnp.where(here, target, out.shape[0])[:, None], here[:, None] & (lanes < dim)
        triton.store(out.at[place, lanes], total, mask=mask)
        target = target - out.shape[0]

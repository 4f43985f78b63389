"""Compressed rows against plain sets."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgcn_jax.data import csr

ROWS, COLUMNS = 5, 7
cells = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)), max_size=60)


def build(pairs) -> csr.CSR:
    array = np.array(pairs, np.int32).reshape(-1, 2)
    return csr.from_pairs(array[:, 0], array[:, 1], (ROWS, COLUMNS))


def as_lists(rows: csr.CSR) -> list[list[int]]:
    return [rows.indices[rows.indptr[r] : rows.indptr[r + 1]].tolist() for r in range(rows.num_rows)]


@given(cells)
def test_rows_are_sorted_and_distinct(pairs):
    found = build(pairs)
    assert as_lists(found) == [sorted({c for r, c in pairs if r == row}) for row in range(ROWS)]
    assert (found.num_rows, found.nnz) == (ROWS, len(set(pairs)))
    assert found.indptr.dtype == found.indices.dtype == np.int32


@given(cells)
def test_degrees_and_rows_of_entries(pairs):
    found = build(pairs)
    assert csr.degrees(found).tolist() == [len(row) for row in as_lists(found)]
    assert csr.row_of_entry(found).tolist() == [r for r, row in enumerate(as_lists(found)) for _ in row]


@given(cells, st.lists(st.integers(0, ROWS - 1), max_size=8))
def test_take_gives_rows_in_the_order_asked_for(pairs, rows):
    assert as_lists(csr.take_rows(build(pairs), np.array(rows, int))) == [as_lists(build(pairs))[row] for row in rows]


@given(cells, st.integers(0, COLUMNS))
def test_select_keeps_entries_in_their_rows(pairs, below):
    found = build(pairs)
    expected = [[c for c in row if c < below] for row in as_lists(found)]
    assert as_lists(csr.filter_entries(found, found.indices < below)) == expected


@pytest.mark.parametrize("block", [1, 3, 1000])
@given(pairs=cells)
def test_blocks_are_all_rows_and_entries_in_their_order(pairs, block):
    found = build(pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csr, "BLOCK", block)
        rows, entries = zip(*csr.row_blocks(found.indptr), strict=True)
        again = csr.take_rows(found, np.arange(ROWS))
        counts = csr.column_counts(found, COLUMNS)
    assert [r for some in rows for r in range(some.start, some.stop)] == list(range(ROWS))
    assert [e for some in entries for e in range(some.start, some.stop)] == list(range(found.nnz))
    assert [found.indptr[some.start] for some in rows] == [some.start for some in entries]
    assert as_lists(again) == as_lists(found)
    assert counts.tolist() == [sum(c == column for _, c in set(pairs)) for column in range(COLUMNS)]


@given(cells, cells)
def test_isin_is_that_of_sets(left, right):
    expected = [pair in set(right) for pair in sorted(set(left))]
    assert csr.isin(build(left), build(right), COLUMNS).tolist() == expected


@settings(max_examples=40)
@given(cells)
def test_contains_and_complement_are_those_of_sets(pairs):
    host = build(pairs)
    device = csr.CSR(*map(jnp.asarray, host))
    row, column = (jnp.asarray(a.astype(np.int32)) for a in np.indices((ROWS, COLUMNS)))
    found = np.asarray(csr.contains(device, row, column))
    absent = np.asarray(csr.kth_missing_column(device, row, column))
    for r, own in enumerate(as_lists(host)):
        assert found[r].tolist() == [c in own for c in range(COLUMNS)]
        others = [c for c in range(COLUMNS) if c not in own]
        assert absent[r, : len(others)].tolist() == others


@pytest.mark.parametrize("rows", [1, 4])
def test_empty_rows(rows):
    nothing = csr.empty(rows)
    assert as_lists(nothing) == [[]] * rows
    device = csr.CSR(*map(jnp.asarray, nothing))
    assert not csr.contains(device, jnp.zeros(3, jnp.int32), jnp.arange(3, dtype=jnp.int32)).any()
    assert csr.kth_missing_column(device, jnp.zeros(3, jnp.int32), jnp.arange(3, dtype=jnp.int32)).tolist() == [0, 1, 2]

"""Events -> the interactions of a data set: dense ids, train, valid and test parts, counts, a hash."""

import dataclasses
import hashlib

import numpy as np

from lgcn_jax.data import csr, ids
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.events import Events
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Interactions:
    """A data set. Users and items are numbered densely, in the order of their raw ids.

    >>> import lgcn_jax as lg
    >>> interactions = lg.read(([7, 7, 9], [1, 2, 1]), test=([9], [2]))
    >>> interactions.num_users, interactions.num_items, interactions.train.nnz, interactions.test.nnz
    (2, 2, 3, 1)

    Attributes:
      name: what to call it in reports.
      user_ids: [num_users], the raw id of each user, ascending: int32, int64, or `str` of dtype object.
      item_ids: [num_items], the raw id of each item.
      train: CSR of users over items; the pairs that the graph and the samplers see.
      valid: CSR, disjoint from train; without entries unless a validation part was given or held out.
      test: CSR, disjoint from train and valid.
      notes: counts of what was met and handled while reading.
      source: the settings that it was loaded by, None where it was made of arrays.
      weights: float32[train.nnz], the weight of each train pair in the graph; None: all weigh 1.
      disliked: CSR of users over items, the pairs that are known not to be wanted; None: none is known.
      user_titles, item_titles: `str` of dtype object, [num_users] and [num_items], what to call them; None: their ids.
      remarks: sentences about how it was read, such as which columns were taken.
    """

    name: str
    user_ids: np.ndarray
    item_ids: np.ndarray
    train: CSR
    valid: CSR
    test: CSR
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    source: DataSettings | None = None
    weights: np.ndarray | None = None
    disliked: CSR | None = None
    user_titles: np.ndarray | None = None
    item_titles: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    @property
    def num_users(self) -> int:
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        return len(self.item_ids)

    def part(self, split: str) -> CSR:
        """The part called 'train', 'valid' or 'test'; 'none' has no pair."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return parts[split] if split != "none" else csr.empty(self.num_users)

    def seen(self, split: str) -> CSR:
        """The pairs masked when `split` is ranked: train, and for the test part the validation pairs too."""
        if split != "test" or not self.valid.nnz:
            return self.train
        rows = np.concatenate([csr.row_of_entry(self.train), csr.row_of_entry(self.valid)])
        columns = np.concatenate([self.train.indices, self.valid.indices])
        return csr.from_pairs(rows, columns, (self.num_users, self.num_items))

    def headline(self) -> str:
        """The name and the largest counts, in one line."""
        users, items, pairs = (f"{count:,}" for count in (self.num_users, self.num_items, self.train.nnz))
        return f"{self.name}: {users} users, {items} items, {pairs} train pairs"

    def noticed(self, split: str) -> str:
        """How many users a part evaluates, and what reading met and handled, in one line."""
        evaluated = int((csr.degrees(self.part(split)) > 0).sum())
        users = f"{evaluated:,} of {self.num_users:,} users have an item in the {split} part and are evaluated"
        users = "nobody is evaluated" if split == "none" else users
        if new := int(((csr.degrees(self.part(split)) > 0) & (csr.degrees(self.train) == 0)).sum()):
            users += f", {new:,} of them without a train item: nothing is known of these"
        return "; ".join([users, *(f"{count:,} {note}" for note, count in self.notes.items() if count)])

    def content_hash(self) -> str:
        """sha256 over raw ids, all three parts and weights, independent of file format and line order."""
        digest = hashlib.sha256()
        for array in (self.user_ids, self.item_ids, *self.train, *self.valid, *self.test):
            digest.update(len(array).to_bytes(8, "little"))
            digest.update(_array_bytes(array))
        if self.weights is not None:
            digest.update(b"weights" + _array_bytes(self.weights))
        if self.disliked is not None:
            digest.update(b"disliked" + b"".join(map(_array_bytes, self.disliked)))
        return digest.hexdigest()

    def evaluation_hash(self) -> str:
        """sha256 over all that an evaluation of the test part depends on: raw ids, the pairs masked, the pairs found.

        It is the same whatever share of the train part is held out for validation and whatever weights there are, and
        where there is neither, it is `content_hash`: metrics of data with the same hash can be compared.
        """
        masked = {"train": self.seen("test"), "valid": csr.empty(self.num_users)}
        return dataclasses.replace(self, **masked, weights=None, disliked=None).content_hash()

    def summary(self) -> dict[str, int | float | str]:
        """What the data set holds, in the order in which it is worth reading."""
        user_degree = csr.degrees(self.train)
        item_degree, test_degree = (csr.column_counts(part, self.num_items) for part in (self.train, self.test))
        return {
            "users": self.num_users,
            "items": self.num_items,
            "train interactions": self.train.nnz,
            "valid interactions": self.valid.nnz,
            "test interactions": self.test.nnz,
            "density": float(f"{self.train.nnz / (self.num_users * self.num_items):.4g}"),
            "users without train items": int((user_degree == 0).sum()),
            "items without train users": int((item_degree == 0).sum()),
            "users without test items": int((csr.degrees(self.test) == 0).sum()),
            "users evaluated on valid": int((csr.degrees(self.valid) > 0).sum()),
            "users evaluated on test": int((csr.degrees(self.test) > 0).sum()),
            "test items unknown to train": int(((test_degree > 0) & (item_degree == 0)).sum()),
            "largest user degree": int(user_degree.max()),
            "largest item degree": int(item_degree.max()),
            "user degree, quartiles": _format_quartiles(user_degree),
            "item degree, quartiles": _format_quartiles(item_degree),
            **(
                {"edge weights": f"{self.weights.min():g} to {self.weights.max():g}"}
                if self.weights is not None
                else {}
            ),
            **({"disliked pairs": self.disliked.nnz} if self.disliked is not None else {}),
            **{note: count for note, count in self.notes.items() if count},
            "content sha256": self.content_hash(),
        }


def assemble(name: str, train: Events, test: Events, valid: Events | None = None) -> Interactions:
    """Interactions from the events of a train, a test and possibly a validation part.

    Repeated pairs are merged, their weights added; a pair of train that also stands in a later part is left out of the
    later part, since seen items are masked when that part is ranked. Every raw id of any part gets a dense id.
    """
    parts = [train, test] + ([valid] if valid is not None else [])
    user_ids, users = ids.unify_ids([part.users for part in parts])
    item_ids, items = ids.unify_ids([part.items for part in parts])
    if not len(item_ids) or not len(train):
        raise InputError(name, "no train interaction", "at least one")
    shape = len(user_ids), len(item_ids)
    found = [csr.from_pairs(*codes, shape) for codes in zip(users, items, strict=True)]
    train_csr, test_csr, valid_csr = (*found, csr.empty(shape[0]))[:3]
    notes = _merge_notes(parts)
    notes["repeated pairs merged"] = (
        notes.get("repeated pairs merged", 0) + sum(map(len, parts)) - sum(part.nnz for part in found)
    )
    notes["gaps in the user ids"] = _count_gaps(user_ids)
    notes["gaps in the item ids"] = _count_gaps(item_ids)
    seen_in_valid = csr.isin(valid_csr, train_csr, shape[1])
    valid_csr = csr.filter_entries(valid_csr, ~seen_in_valid)
    seen_in_test = csr.isin(test_csr, train_csr, shape[1]) | csr.isin(test_csr, valid_csr, shape[1])
    test_csr = csr.filter_entries(test_csr, ~seen_in_test)
    notes["valid pairs left out (seen in train)"] = int(seen_in_valid.sum())
    notes["test pairs left out (seen before)"] = int(seen_in_test.sum())
    weights = None if train.weight is None else csr.sum_repeats(users[0], items[0], train.weight, shape)
    remarks = tuple(dict.fromkeys(remark for part in parts for remark in part.remarks))
    parts_csr = train_csr, valid_csr, test_csr
    return Interactions(name, user_ids, item_ids, *parts_csr, notes, weights=weights, remarks=remarks)


def hold_out(interactions: Interactions, fraction: float, seed: int) -> Interactions:
    """Moves floor(n * fraction) of each user's n train items, drawn by `seed`, into the validation part."""
    require_no_valid(interactions, fraction)
    return move_to_part(interactions, draw_entries(interactions.train, fraction, seed), "valid")


def require_no_valid(interactions: Interactions, fraction: float) -> None:
    """Raises an InputError where there is a validation part, and so none is held out."""
    if interactions.valid.nnz:
        raise InputError("--validation_fraction", fraction, "0 for a data set with a validation part of its own")


def move_to_part(interactions: Interactions, moved: np.ndarray, part: str) -> Interactions:
    """The train pairs for which `moved` (bool[train.nnz]) is true become the validation or test part."""
    train, later = (csr.filter_entries(interactions.train, keep) for keep in (~moved, moved))
    weights = None if interactions.weights is None else interactions.weights[~moved]
    return dataclasses.replace(interactions, train=train, weights=weights, **{part: later})


def draw_entries(pairs: CSR, fraction: float, seed: int, least: int = 0) -> np.ndarray:
    """bool[nnz], the entries drawn by `seed`: of a row's n floor(n * fraction), or `least` if that is more and leaves
    one."""
    random = np.random.Generator(np.random.PCG64(seed))
    # Rounded before the floor: 0.29 * 100 is 28.999999999999996 in binary.
    degree = csr.degrees(pairs)
    quota = np.floor(np.round(degree * fraction, 9)).astype(np.int32)
    quota = np.maximum(quota, np.minimum(least, degree - 1)).astype(np.int32)
    drawn = np.empty(pairs.nnz, bool)
    for rows, entries in csr.row_blocks(pairs.indptr):  # one stream of draws, whatever the blocks
        indptr = pairs.indptr[rows.start : rows.stop + 1] - entries.start
        drawn[entries] = _lowest_mask(random.random(indptr[-1]), indptr, quota[rows])
    return drawn


def _lowest_mask(draws: np.ndarray, indptr: np.ndarray, quota: np.ndarray) -> np.ndarray:
    """bool[len(draws)]: whether each draw is one of the `quota[row]` smallest of its row."""
    rows = np.repeat(np.arange(len(quota)), np.diff(indptr))
    rank = np.empty(len(draws), np.int64)
    rank[_order_in_rows(rows, draws)] = np.arange(len(draws)) - indptr[rows]
    return rank < quota[rows]


def _order_in_rows(rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """np.lexsort((draws, rows)) for draws in [0, 1), in a third of its time."""
    keys = rows + draws  # rounded: never in another order, but two may become equal
    order = np.argsort(keys)
    return order if (np.diff(keys[order]) > 0).all() else np.lexsort((draws, rows))


def _format_quartiles(degree: np.ndarray) -> str:
    """The quartiles of degrees above 0."""
    return " / ".join(f"{cut:g}" for cut in np.percentile(degree[degree > 0], [25, 50, 75]))


def _merge_notes(parts: list[Events]) -> dict[str, int]:
    notes: dict[str, int] = {}
    for part in parts:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    return notes


def _count_gaps(values: np.ndarray) -> int:
    """Numbers between the smallest and the largest raw id that no line uses; none in text."""
    return 0 if ids.is_text(values) else int(values[-1]) - int(values[0]) + 1 - len(values)


def _array_bytes(array: np.ndarray) -> bytes:
    """The bytes of an array for a hash, the same on every machine."""
    if array.dtype.kind == "O":
        return b"".join(len(each.encode()).to_bytes(4, "little") + each.encode() for each in array)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()

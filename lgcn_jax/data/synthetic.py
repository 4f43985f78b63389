"""A data set of our own: power-law degrees and planted communities, so that nothing from outside is needed.

The users' degrees are fixed up front, and their items are then drawn for one block of users after the other, each a
pure function of (seed, block). Whoever needs only some users makes only their blocks, and whoever needs all of them
never holds more than the result and the candidates of one block.
"""

import dataclasses

import numpy as np

from lgcn_jax.data.csr import CSR

NUM_COMMUNITIES = 16
COMMUNITY_SHARE = 0.8  # of a user's draws that come from the user's own community
USER_EXPONENT = 0.6  # Zipf exponent of user activity
ITEM_POWER = 5  # an item's popularity rank is this power of a uniform number: a Zipf exponent of 1 - 1/5
BLOCK = 1 << 20  # about how many pairs a block has
CROWDED = 16  # users with more than 1/CROWDED of all items are drawn by a race, not by rejection


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """What is fixed before a pair is drawn.

    Attributes:
      degrees: int32[num_users], how many items each user has.
      user_community: int32[num_users], each user's community; item rank r belongs to community r % num_communities.
      item_permutation: int32[num_items], the item of each popularity rank.
      starts: int64[num_blocks + 1], the first user of each block.
      seed: what all draws come from.
    """

    degrees: np.ndarray
    user_community: np.ndarray
    item_permutation: np.ndarray
    starts: np.ndarray
    seed: int

    @property
    def num_items(self) -> int:
        return len(self.item_permutation)

    @property
    def num_communities(self) -> int:
        return min(NUM_COMMUNITIES, self.num_items)

    def random(self, *stream: int) -> np.random.Generator:
        """The generator of one stream of the seed."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=stream)))


def generate(num_users: int, num_items: int, num_interactions: int, seed: int) -> CSR:
    """All pairs of the world that `plan` describes: `num_users` rows of item ids, int32 in [0, num_items)."""
    return generate_rows(make_spec(num_users, num_items, num_interactions, seed), 0, num_users)


def make_spec(num_users: int, num_items: int, num_interactions: int, seed: int) -> SyntheticSpec:
    """A world of exactly `num_interactions` distinct pairs, in which communities predict taste.

    Users' degrees follow Zipf activity. An item is drawn by its popularity, a power law: with probability 0.8 among
    those of the user's community, else among all.

    Raises:
      ValueError: more than half of all possible pairs are asked for; a sparse world cannot be that dense.
    """
    if num_interactions > num_users * num_items // 2:
        raise ValueError(f"{num_interactions} of {num_users} x {num_items} pairs")
    random = np.random.Generator(np.random.PCG64(seed))
    rank = random.permutation(num_users).astype(np.int32)
    degree = draw_user_degrees(num_users, num_items, num_interactions)[rank]
    names = random.permutation(num_items).astype(np.int32)
    community = rank % np.int32(min(NUM_COMMUNITIES, num_items))
    return SyntheticSpec(degree, community, names, _block_starts(degree), seed)


def draw_user_degrees(num_users: int, num_items: int, num_interactions: int) -> np.ndarray:
    """int32[num_users]: the degree of each activity rank, proportional to (rank + 1)^-0.6, with the given sum.

    Nobody has more than half of the items (rounded up); what that cuts off goes to all others, in proportion.
    """
    weight = (np.arange(num_users) + 1.0) ** -USER_EXPONENT
    cap = (num_items + 1) // 2
    rest = np.cumsum(weight[::-1])[::-1]
    # Of the users from each rank on, were all before it at the cap: how many pairs a weight of 1 is worth.
    worth = (num_interactions - cap * np.arange(num_users)) / rest
    capped = int(np.argmax(worth * weight <= cap))
    share = np.where(np.arange(num_users) < capped, cap, worth[capped] * weight)
    whole = np.floor(np.cumsum(share) + 0.5)  # rounded sums, so that the roundings add up to nothing
    whole[-1] = num_interactions
    return np.diff(whole, prepend=0).astype(np.int32)


def generate_rows(spec: SyntheticSpec, first: int, last: int) -> CSR:
    """The items of the users from `first` to below `last`, drawing no block that has none of them."""
    before = np.concatenate([[0], np.cumsum(spec.degrees[first:last], dtype=np.int64)])
    indices = np.empty(before[-1], np.int32)
    for number in np.flatnonzero((spec.starts[:-1] < last) & (spec.starts[1:] > first)):
        start, stop = spec.starts[number : number + 2]
        drawn, inside = generate_block(spec, number), slice(max(first, start), min(last, stop))
        entries = slice(*drawn.indptr[[inside.start - start, inside.stop - start]])
        indices[before[inside.start - first] : before[inside.stop - first]] = drawn.indices[entries]
    return CSR(before.astype(np.int32), indices)


def generate_block(spec: SyntheticSpec, block: int) -> CSR:
    """The items of the users of one block, starts[block] to below starts[block + 1]: a row for each."""
    users = slice(*spec.starts[block : block + 2])
    degree, community = spec.degrees[users], spec.user_community[users]
    random = spec.random(block)
    crowded = degree > spec.num_items // CROWDED
    keys = _draw_by_rejection(spec, random, np.where(crowded, 0, degree), community)
    keys += _draw_by_race(spec, random, np.flatnonzero(crowded), degree, community)
    keys = np.sort(np.concatenate(keys))
    indptr = np.concatenate([[0], np.cumsum(degree)])
    return CSR(indptr.astype(np.int32), (keys % spec.num_items).astype(np.int32))


def peak_bytes(num_users: int, num_items: int, num_interactions: int) -> int:
    """About the memory that making and splitting such a world takes at its peak, beside the program itself."""
    # Of each pair at the split: 4 bytes of the whole, 4 of its parts, 4 of a running count, 2 of masks, 1 to spare.
    return 15 * num_interactions + 64 * (num_users + num_items) + 128 * BLOCK


def _block_starts(degree: np.ndarray) -> np.ndarray:
    """int64[num_blocks + 1]: the first user of each block, so that blocks have about BLOCK pairs."""
    before = np.cumsum(degree, dtype=np.int64)
    inner = np.searchsorted(before, np.arange(BLOCK, before[-1], BLOCK))
    return np.unique(np.concatenate([[0], inner, [len(degree)]]))


def _draw_by_rejection(
    spec: SyntheticSpec, random: np.random.Generator, missing: np.ndarray, community: np.ndarray
) -> list:
    """Distinct pairs as int64 keys row * num_items + item, `missing[row]` of each row; the arrays are disjoint.

    As many items are drawn as are missing, those that a row has already are dropped, and so on until none is missing.
    """
    found = []
    while missing.any():
        row = np.repeat(np.arange(len(missing)), missing)
        keys = row * spec.num_items + _draw_items(spec, random, community[row])
        keys.sort()
        keys = keys[np.diff(keys, prepend=-1) > 0]
        for earlier in found:
            place = np.minimum(np.searchsorted(earlier, keys), len(earlier) - 1)
            keys = keys[earlier[place] != keys]
        if len(keys):
            found.append(keys)
            missing = missing - np.bincount(keys // spec.num_items, minlength=len(missing))
    return found


def _draw_items(spec: SyntheticSpec, random: np.random.Generator, community: np.ndarray) -> np.ndarray:
    """int32: an item for each of the given communities, with repeats."""
    communities, everyone = spec.num_communities, spec.num_communities
    size = np.append(-(-(spec.num_items - np.arange(communities)) // communities), spec.num_items)
    span = (size + 1.0) ** (1 / ITEM_POWER) - 1
    own = random.random(len(community)) < COMMUNITY_SHARE
    group = np.where(own, community, everyone)
    root = 1 + random.random(len(community)) * span[group]
    rank = np.minimum((root * root * root * root * root).astype(np.int64) - 1, size[group] - 1)
    return spec.item_permutation[np.where(own, rank * communities + community, rank)]


def _draw_by_race(
    spec: SyntheticSpec, random: np.random.Generator, rows: np.ndarray, degree: np.ndarray, community: np.ndarray
):
    """As `_draw_by_rejection`, for rows that want so many items that it would take long; the law of draws is the same.

    Items arrive at exponential times at the rate of their probability; the first `degree[row]` are taken.
    """
    found = [np.zeros(0, np.int64)]
    at_once = max(1, BLOCK // spec.num_items)
    for c in np.unique(community[rows]):
        mean, members = 1 / _rank_probabilities(spec, c), rows[community[rows] == c]
        for some in np.split(members, range(at_once, len(members), at_once)):
            times = random.standard_exponential((len(some), spec.num_items)) * mean
            last = np.sort(times)[np.arange(len(some)), degree[some] - 1]
            row, rank = np.nonzero(times <= last[:, None])
            found.append(some[row] * spec.num_items + spec.item_permutation[rank])
    return found


def _rank_probabilities(spec: SyntheticSpec, community: int) -> np.ndarray:
    """float64[num_items]: the probability with which `_draw_items` draws each popularity rank for a community."""

    def zipf(size: int) -> np.ndarray:
        root = (np.arange(size + 1) + 1.0) ** (1 / ITEM_POWER)
        return np.diff(root) / (root[-1] - 1)

    whole = (1 - COMMUNITY_SHARE) * zipf(spec.num_items)
    own = whole[community :: spec.num_communities]
    own += COMMUNITY_SHARE * zipf(len(own))
    return whole

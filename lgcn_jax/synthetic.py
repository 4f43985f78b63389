"""A data set of our own: power-law degrees and planted communities, so that nothing from outside is needed."""

import numpy as np

from lgcn_jax.reader import Pairs

NUM_COMMUNITIES = 16
COMMUNITY_SHARE = 0.8  # of a user's items that come from the user's own community
USER_EXPONENT, ITEM_EXPONENT = 0.6, 0.8  # Zipf exponents of user activity and item popularity


def generate(num_users: int, num_items: int, num_interactions: int, seed: int) -> Pairs:
    """Exactly `num_interactions` distinct pairs of a world in which communities predict taste.

    User u and item i belong to community `u % 16` and `i % 16` after a random renaming. A draw takes a user by Zipf
    activity, then an item by Zipf popularity: with probability 0.8 from the user's community, else from all.

    Returns:
      Pairs with raw ids int32 in [0, num_users) and [0, num_items), ordered by user, then item.

    Raises:
      ValueError: more than half of all possible pairs are asked for; a sparse world cannot be that dense.
    """
    if num_interactions > num_users * num_items // 2:
        raise ValueError(f"{num_interactions} of {num_users} x {num_items} pairs")
    random = np.random.Generator(np.random.PCG64(seed))
    keys = np.zeros(0, np.int64)
    users, items = _Zipf(num_users, USER_EXPONENT), _Zipf(num_items, ITEM_EXPONENT)
    while len(keys) < num_interactions:
        missing = num_interactions - len(keys)
        fresh = _draw(random, users, items, missing + missing // 4 + 16)
        keys = np.unique(np.concatenate([keys, fresh]))
    keys = np.sort(random.permutation(keys)[:num_interactions])
    user_names, item_names = random.permutation(num_users), random.permutation(num_items)
    order = np.lexsort((item_names[keys % num_items], user_names[keys // num_items]))
    keys = keys[order]
    nothing = np.zeros(0, np.int32)
    return Pairs(
        user_names[keys // num_items].astype(np.int32), item_names[keys % num_items].astype(np.int32), nothing, {}
    )


def peak_bytes(num_users: int, num_items: int, num_interactions: int) -> int:
    """About the memory that making and splitting such a world takes at its peak (measured: 110 bytes a pair)."""
    return 120 * num_interactions + 64 * (num_users + num_items)


class _Zipf:
    """Draws from weights proportional to (rank + 1)^-exponent, over all ids or over those of one community."""

    def __init__(self, size: int, exponent: float):
        self.size = size
        weights = (np.arange(size) + 1.0) ** -exponent
        self._whole = np.cumsum(weights)
        self._communities = [np.cumsum(weights[c::NUM_COMMUNITIES]) for c in range(NUM_COMMUNITIES)]

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._whole, uniform * self._whole[-1], side="right").clip(max=self.size - 1)

    def draw_within(self, uniform: np.ndarray, community: np.ndarray) -> np.ndarray:
        drawn = np.empty(len(uniform), np.int64)
        for c, cumulative in enumerate(self._communities):
            members = community == c
            if not len(cumulative):  # fewer ids than communities: fall back on all of them
                drawn[members] = self.draw(uniform[members])
                continue
            rank = np.searchsorted(cumulative, uniform[members] * cumulative[-1], side="right")
            drawn[members] = rank.clip(max=len(cumulative) - 1) * NUM_COMMUNITIES + c
        return drawn


def _draw(random: np.random.Generator, users: _Zipf, items: _Zipf, size: int) -> np.ndarray:
    """int64[size] pairs as user * num_items + item, with repeats."""
    user = users.draw(random.random(size))
    uniform = random.random(size)
    own = random.random(size) < COMMUNITY_SHARE
    item = np.where(own, items.draw_within(uniform, user % NUM_COMMUNITIES), items.draw(uniform))
    return user.astype(np.int64) * items.size + item

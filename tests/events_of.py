"""Events as tests write them down."""

import numpy as np

from lgcn_jax.data import ids
from lgcn_jax.data.events import Events


def pairs(rows, listed=()) -> Events:
    """Events from [(user, item), ...]; of the listed users there is none."""
    array = np.array(rows, np.int32).reshape(-1, 2)
    users = ids.integer_id_column(np.concatenate([array[:, 0], np.array(listed, np.int32)]))
    users = users._replace(codes=users.codes[: len(array)])
    return Events(users, ids.integer_id_column(array[:, 1]), notes={"users listed without an item": len(listed)})

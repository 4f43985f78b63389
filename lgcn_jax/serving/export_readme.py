"""The README.md of an export: how to load it, and how to leave out what a user has seen."""

from typing import Any

_HEAD = """\
# Vectors of a recommendation model

{users:,} users and {items:,} items with vectors of {dimensions} numbers, the final ones of the model's chosen epoch.
The score of an item for a user is the dot product of their vectors, not the cosine.

Rows of the arrays, and keys of an index, are numbers of users or items, counted from 0. `ids/users.arrow` and
`ids/items.arrow` have their raw ids in that order in the column `id`, and titles, where there are any, in `title`.
`seen.npz` says which items each user had in the data: `items[indptr[user]:indptr[user + 1]]`, numbers of items.

{note}To load, in this folder:

```python
{load}
```

The ten best items that a user has not seen. As many more are asked for as the user has seen, which are then left out:

```python
user, k = 0, 10
have = seen["items"][seen["indptr"][user] : seen["indptr"][user + 1]]
{search}
best = found[~np.isin(found, have)][:k]
print(item_ids[best])
```
"""

_EXACT = 'found = np.argsort(-(items @ users[user]), kind="stable")[: k + len(have)]'

_LOAD = {
    "npz": """\
import numpy as np
vectors, seen = np.load("vectors.npz"), np.load("seen.npz")
users, items, item_ids = (vectors[name] for name in ("user_embeddings", "item_embeddings", "item_ids"))""",
    "safetensors": """\
import numpy as np, pyarrow as pa; from safetensors.numpy import load_file
users, items = (load_file("vectors.safetensors")[name] for name in ("user_embeddings", "item_embeddings"))
seen, item_ids = np.load("seen.npz"), pa.ipc.open_file("ids/items.arrow").read_all()["id"].to_numpy()""",
    "parquet": """\
import numpy as np; from pyarrow import parquet
tables, seen = [parquet.read_table(name) for name in ("users.parquet", "items.parquet")], np.load("seen.npz")
(users, items), item_ids = (np.stack(table["vector"].to_numpy()) for table in tables), tables[1]["id"].to_numpy()""",
    "usearch": """\
import numpy as np, pyarrow as pa; from usearch.index import Index
index, users = Index.restore("items.usearch", expansion_search={expansion_search}), np.load("users.npy")
seen, item_ids = np.load("seen.npz"), pa.ipc.open_file("ids/items.arrow").read_all()["id"].to_numpy()""",
    "faiss": """\
import faiss, numpy as np, pyarrow as pa
index, users, seen = faiss.read_index("items.faiss"), np.load("users.npy"), np.load("seen.npz")
item_ids = pa.ipc.open_file("ids/items.arrow").read_all()["id"].to_numpy()""",
}

_SEARCH = {
    "usearch": "found = index.search(users[user], k + len(have)).keys.astype(int)",
    "faiss": "found = index.search(users[[user]], k + len(have))[1][0]",
}

_NOTES = {
    "usearch": """\
The index searches by dot product (`ip`), not exactly: of the {k} best items of users that were tried it found
{recall:.2%} with `expansion_search={expansion_search}`; more of it finds more, and takes longer. Vectors there and in
`users.npy` have one more number, which makes all items equally long, and is 0 for users.

""",
    "faiss": "The index searches by dot product, and exactly (`IndexFlatIP`).\n\n",
}


def readme_text(format: str, facts: dict[str, Any]) -> str:
    """The README.md of an export in a format of which `facts` tells sizes and recall."""
    load, note = (texts.get(format, "").format(**facts) for texts in (_LOAD, _NOTES))
    return _HEAD.format(note=note, load=load, search=_SEARCH.get(format, _EXACT), **facts)

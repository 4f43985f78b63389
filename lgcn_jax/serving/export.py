"""Final vectors with raw ids as files that other programs read: a folder, written whole or not at all."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import is_text
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.runs import raw_ids
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving import export_readme
from lgcn_jax.system import extras, files, paths
from lgcn_jax.version import __version__

README, FACTS, SEEN, QUERIES = "README.md", "export.json", "seen.npz", "users.npy"
LISTED, RECALL, SAMPLED = 100, 0.995, 1 << 26  # of a search that is not exact: k, what it has to find, scores compared


@dataclasses.dataclass(frozen=True)
class ExportedVectors:
    """What is exported: raw ids and final vectors, in the same order, and what each user has seen.

    Attributes:
      users, items: raw ids and titles.
      user_embeddings, item_embeddings: float32[num_users, d], float32[num_items, d].
      seen: a row for each user, the numbers of the items of the train and validation parts.
    """

    users: RawIds
    items: RawIds
    user_embeddings: np.ndarray
    item_embeddings: np.ndarray
    seen: CSR


def require_format(format: str) -> None:
    """Raises an InputError where there is no such format, or where its package is not installed."""
    if format not in FORMATS:
        raise InputError("format", repr(format), f"one of {', '.join(FORMATS)}")
    if FORMATS[format].package:
        extras.import_extra(FORMATS[format].package, "export")


def require_free(path: Path, where: str = "") -> None:
    """Raises an InputError where the folder holds something that is no export; `where` is the flag that states it."""
    if not paths.exists(path, f"{where}{path}"):
        return
    try:
        free = path.is_dir() and _is_ours(path)
    except OSError as error:
        raise InputError(f"{where}{path}", f"what cannot be read ({error.strerror})", "a new folder") from None
    if not free:
        raise InputError(f"{where}{path}", "something that is no export", "a new folder, or that of an export")


def write(vectors: ExportedVectors, path: Path, format: str) -> None:
    """Writes beside the folder, then renames.

    Raises:
      InputError: as `require_format` and `require_free`.
      WriteError: the disk does not take it.
    """
    path = path.expanduser()
    require_format(format)
    require_free(path)
    facts: dict[str, Any] = {
        "format": format,
        "lgcn_jax": __version__,
        "users": len(vectors.users.ids),
        "items": len(vectors.items.ids),
        "dimensions": vectors.item_embeddings.shape[1],
    }

    def fill(made: Path) -> None:
        facts.update(FORMATS[format].write(vectors, made))
        raw_ids.write_raw_ids(_make_folder(made / raw_ids.FOLDER), vectors.users, vectors.items)
        np.savez(made / SEEN, indptr=vectors.seen.indptr, items=vectors.seen.indices)
        (made / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (made / README).write_text(export_readme.readme_text(format, facts), encoding="utf-8")

    try:
        files.write_folder(path, fill)
    except OSError as error:
        raise WriteError(path, error.strerror or error) from None


def _is_ours(path: Path) -> bool:
    names = {entry.name for entry in path.iterdir()}
    known = {name for kind in FORMATS.values() for name in kind.files}
    return not names or (FACTS in names and names <= known | {README, FACTS, SEEN, raw_ids.FOLDER})


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_npz(vectors: ExportedVectors, folder: Path) -> dict[str, Any]:
    arrays = {"user_embeddings": vectors.user_embeddings, "item_embeddings": vectors.item_embeddings}
    ids = {"user_ids": _plain_ids(vectors.users.ids, folder), "item_ids": _plain_ids(vectors.items.ids, folder)}
    np.savez(folder / "vectors.npz", allow_pickle=False, **ids, **arrays)
    return {}


def _plain_ids(ids: np.ndarray, folder: Path) -> np.ndarray:
    """Raw ids without objects: text in NumPy's type of a fixed width, which knows no zero at the end of a text."""
    plain = ids.astype(np.str_) if is_text(ids) else ids
    if not (plain == ids).all():
        raise InputError(folder.name, "ids that end in a zero character", "another format than npz for them")
    return plain


def _write_safetensors(vectors: ExportedVectors, folder: Path) -> dict[str, Any]:
    from safetensors.numpy import save

    arrays = {"user_embeddings": vectors.user_embeddings, "item_embeddings": vectors.item_embeddings}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (folder / "vectors.safetensors").write_bytes(save(contiguous))
    return {}


def _write_parquet(vectors: ExportedVectors, folder: Path) -> dict[str, Any]:
    import pyarrow
    from pyarrow import parquet

    both = ("users", vectors.users, vectors.user_embeddings), ("items", vectors.items, vectors.item_embeddings)
    for name, ids, array in both:
        rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(array.ravel()), array.shape[1])
        titles = {} if ids.titles is None else {"title": raw_ids.arrow_column(ids.titles)}
        table = pyarrow.table({"id": raw_ids.arrow_column(ids.ids)} | titles | {"vector": rows})
        parquet.write_table(table, folder / f"{name}.parquet")
    return {}


def _write_usearch(vectors: ExportedVectors, folder: Path) -> dict[str, Any]:
    """An HNSW graph of items, all made equally long by one more number, which is 0 in a query (Bachrach et al. 2014).

    Dot products are the same; but among vectors of many lengths some short ones are reached from nowhere, however long
    the search. How long it has to be differs from data to data, so it is measured, and told.

    The graph is built by one thread: several insert in an order that nobody knows, and each time it is another graph.
    """
    from usearch.index import Index

    squares = (vectors.item_embeddings.astype(np.float64) ** 2).sum(1)
    longer = _append_column(vectors.item_embeddings, np.sqrt(squares.max() - squares))
    index = Index(ndim=longer.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=512)
    index.add(np.arange(len(longer)), longer, threads=1)
    queries = _append_column(vectors.user_embeddings, np.zeros(len(vectors.user_embeddings)))
    (folder / "items.usearch").write_bytes(index.save() or b"")
    np.save(folder / QUERIES, queries)
    return _tune_index(index, queries, longer)


def _tune_index(index: Any, queries: np.ndarray, items: np.ndarray) -> dict[str, Any]:
    """The least `expansion_search` by which a sample of users gets the exact best, up to RECALL, and their recall."""
    k = min(LISTED, len(items))
    count = int(np.clip(SAMPLED // len(items), 1, min(256, len(queries))))
    sample = queries[np.linspace(0, len(queries) - 1, count).astype(int)]
    exact = np.argpartition(-(sample @ items.T), k - 1, axis=1)[:, :k]
    for size in 2 ** np.arange(6, max(len(items) - 1, 64).bit_length() + 1):
        index.expansion_search = int(size)
        found = index.search(sample, k).keys.reshape(count, -1)
        recall = np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)])
        if recall >= RECALL:
            break
    return {"expansion_search": int(size), "k": k, "recall": round(float(recall), 4)}


def _append_column(array: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.column_stack([array, column]).astype(np.float32)


def _write_faiss(vectors: ExportedVectors, folder: Path) -> dict[str, Any]:
    import faiss

    index = faiss.IndexFlatIP(vectors.item_embeddings.shape[1])
    index.add(np.ascontiguousarray(vectors.item_embeddings))
    (folder / "items.faiss").write_bytes(faiss.serialize_index(index).tobytes())
    np.save(folder / QUERIES, vectors.user_embeddings, allow_pickle=False)
    return {}


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of export: what writes its files into a folder and tells more facts, their names, and a package or ''."""

    write: Callable[[ExportedVectors, Path], dict[str, Any]]
    files: tuple[str, ...]
    package: str = ""


FORMATS: dict[str, Format] = {
    "npz": Format(_write_npz, ("vectors.npz",)),
    "safetensors": Format(_write_safetensors, ("vectors.safetensors",), "safetensors"),
    "parquet": Format(_write_parquet, ("users.parquet", "items.parquet")),
    "usearch": Format(_write_usearch, ("items.usearch", QUERIES), "usearch"),
    "faiss": Format(_write_faiss, ("items.faiss", QUERIES), "faiss"),
}

"""Final vectors with raw ids as files that other programs read: a folder, written whole or not at all."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import is_text
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.runs import raw_ids
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving import export_readme
from lgcn_jax.system import files, optional
from lgcn_jax.version import __version__

README, FACTS, SEEN, QUERIES = "README.md", "export.json", "seen.npz", "users.npy"


@dataclasses.dataclass(frozen=True)
class Vectors:
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


def require(format: str) -> None:
    """Raises an InputError where there is no such format, or where its package is not installed."""
    if format not in FORMATS:
        raise InputError("format", repr(format), f"one of {', '.join(FORMATS)}")
    if FORMATS[format].package:
        optional.require(FORMATS[format].package, "export")


def require_free(path: Path, where: str = "") -> None:
    """Raises an InputError where the folder holds something that is no export; `where` is the flag that states it."""
    try:
        if path.exists() and not (path.is_dir() and _is_ours(path)):
            raise InputError(f"{where}{path}", "something that is no export", "a new folder, or that of an export")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{where}{path}", f"a path that cannot be used ({reason})", "a new folder") from None


def write(vectors: Vectors, path: Path, format: str) -> None:
    """Writes beside the folder, then renames.

    Raises:
      InputError: as `require` and `require_free`.
      WriteError: the disk does not take it.
    """
    path = path.expanduser()
    require(format)
    require_free(path)
    facts = {
        "format": format,
        "lgcn_jax": __version__,
        "users": len(vectors.users.ids),
        "items": len(vectors.items.ids),
        "dimensions": vectors.item_embeddings.shape[1],
    }

    def fill(made: Path) -> None:
        FORMATS[format].write(vectors, made)
        raw_ids.write(_made(made / raw_ids.FOLDER), vectors.users, vectors.items)
        np.savez(made / SEEN, indptr=vectors.seen.indptr, items=vectors.seen.indices)
        (made / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (made / README).write_text(export_readme.text(format, facts), encoding="utf-8")

    try:
        files.write_folder(path, fill)
    except OSError as error:
        raise WriteError(path, error.strerror or error) from None


def _is_ours(path: Path) -> bool:
    names = {entry.name for entry in path.iterdir()}
    known = {name for kind in FORMATS.values() for name in kind.files}
    return not names or (FACTS in names and names <= known | {README, FACTS, SEEN, raw_ids.FOLDER})


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _npz(vectors: Vectors, folder: Path) -> None:
    arrays = {"user_embeddings": vectors.user_embeddings, "item_embeddings": vectors.item_embeddings}
    ids = {"user_ids": _plain(vectors.users.ids, folder), "item_ids": _plain(vectors.items.ids, folder)}
    np.savez(folder / "vectors.npz", allow_pickle=False, **ids, **arrays)


def _plain(ids: np.ndarray, folder: Path) -> np.ndarray:
    """Raw ids without objects: text in NumPy's type of a fixed width, which knows no zero at the end of a text."""
    plain = ids.astype(np.str_) if is_text(ids) else ids
    if not (plain == ids).all():
        raise InputError(folder.name, "ids that end in a zero character", "another format than npz for them")
    return plain


def _safetensors(vectors: Vectors, folder: Path) -> None:
    from safetensors.numpy import save

    arrays = {"user_embeddings": vectors.user_embeddings, "item_embeddings": vectors.item_embeddings}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (folder / "vectors.safetensors").write_bytes(save(contiguous))


def _parquet(vectors: Vectors, folder: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    both = ("users", vectors.users, vectors.user_embeddings), ("items", vectors.items, vectors.item_embeddings)
    for name, ids, array in both:
        rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(array.ravel()), array.shape[1])
        titles = {} if ids.titles is None else {"title": raw_ids.column(ids.titles)}
        table = pyarrow.table({"id": raw_ids.column(ids.ids)} | titles | {"vector": rows})
        parquet.write_table(table, folder / f"{name}.parquet")


def _usearch(vectors: Vectors, folder: Path) -> None:
    """An HNSW graph of items that were all made of one length by one more number, which is 0 in a query (Bachrach et al.
    2014). Dot products are the same; but among vectors of many lengths the short ones are found from nowhere."""
    from usearch.index import Index

    squares = (vectors.item_embeddings.astype(np.float64) ** 2).sum(1)
    longer = _with_column(vectors.item_embeddings, np.sqrt(squares.max() - squares))
    index = Index(ndim=longer.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=512)
    index.add(np.arange(len(longer)), longer)
    (folder / "items.usearch").write_bytes(index.save() or b"")
    np.save(folder / QUERIES, _with_column(vectors.user_embeddings, np.zeros(len(vectors.user_embeddings))))


def _with_column(array: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.column_stack([array, column]).astype(np.float32)


def _faiss(vectors: Vectors, folder: Path) -> None:
    import faiss

    index = faiss.IndexFlatIP(vectors.item_embeddings.shape[1])
    index.add(np.ascontiguousarray(vectors.item_embeddings))
    (folder / "items.faiss").write_bytes(faiss.serialize_index(index).tobytes())
    np.save(folder / QUERIES, vectors.user_embeddings, allow_pickle=False)


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of export: what writes its files into a folder, their names, and the package that this needs, or ''."""

    write: Callable[[Vectors, Path], None]
    files: tuple[str, ...]
    package: str = ""


FORMATS: dict[str, Format] = {
    "npz": Format(_npz, ("vectors.npz",)),
    "safetensors": Format(_safetensors, ("vectors.safetensors",), "safetensors"),
    "parquet": Format(_parquet, ("users.parquet", "items.parquet")),
    "usearch": Format(_usearch, ("items.usearch", QUERIES), "usearch"),
    "faiss": Format(_faiss, ("items.faiss", QUERIES), "faiss"),
}

"""Models whose scores are dot products of vectors: nearest neighbors, and vectors for other programs."""

from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import positions
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import DotProduct, Scorer
from lgcn_jax.serving import export, lists, topk
from lgcn_jax.serving.recommendations import Neighbors
from lgcn_jax.serving.recommender import Recommender, mesh_of

METRICS = ("cosine", "dot")


class VectorModel(Recommender):
    """Base of the models with vectors; `fit` of a subclass sets these.

    Attributes:
      user_embeddings: float32[num_users, d], the final vectors, in the order of `users`.
      item_embeddings: float32[num_items, d], in the order of `items`; dot products are the scores.
    """

    user_embeddings: np.ndarray
    item_embeddings: np.ndarray

    @property
    def vector_width(self) -> int | None:
        """The width d of the vectors; None where a model of this kind has none."""
        return self.item_embeddings.shape[1]

    def _host_scorer(self) -> Scorer:
        return DotProduct(self.user_embeddings, self.item_embeddings)  # type: ignore[arg-type]

    def _require_vectors(self, asked: str) -> None:
        """Raises an InputError where there are no vectors whose dot products are the scores."""
        del asked
        self._require_fitted()

    def similar_items(self, items: Any, k: int = 10, *, metric: str = "cosine", mesh: str = ONE_DEVICE) -> Neighbors:
        """The nearest items of each item by the final vectors, itself left out. Ties go to the lowest id.

        Args:
          items: a raw id, or a sequence of them.
          k: how many of each; at most the number of other items.
          metric: 'cosine' or 'dot'. Dot products favor popular items, whose vectors are long.
          mesh: as for `recommend`.

        Raises:
          InputError: an id is unknown or of another type, `k` is out of range, there is no such metric, or the model
            is one whose scores are no dot products.
        """
        self._require_vectors("similar_items")
        return self._neighbors("item", self.items, self.item_titles, self.item_embeddings, items, k, metric, mesh)

    def similar_users(self, users: Any, k: int = 10, *, metric: str = "cosine", mesh: str = ONE_DEVICE) -> Neighbors:
        """The nearest users of each user, as `similar_items` of items."""
        self._require_vectors("similar_users")
        return self._neighbors("user", self.users, self.user_titles, self.user_embeddings, users, k, metric, mesh)

    def _neighbors(
        self,
        kind: str,
        known: np.ndarray,
        titles: np.ndarray | None,
        vectors: np.ndarray,
        ids: Any,
        k: int,
        metric: str,
        mesh: str,
    ) -> Neighbors:
        lists.require_k(k, len(known) - 1, f"other {kind}s")
        if metric not in METRICS:
            raise InputError("metric", repr(metric), f"one of {', '.join(METRICS)}")
        numbers, place = positions(ids, known, f"{kind}s"), mesh_of(mesh)

        def make(source: np.ndarray) -> topk.Ranker:
            compared = unit_vectors(source) if metric == "cosine" else source
            return topk.Ranker(DotProduct(compared, compared), len(compared), place)  # type: ignore[arg-type]

        ranker = self._uploads.get((kind, metric, place), vectors, make)
        itself = CSR(np.arange(len(known) + 1, dtype=np.int32), np.arange(len(known), dtype=np.int32))
        found, scores = ranker.top_items(numbers, itself, np.ones(len(known), bool), k)
        return Neighbors(kind, known[numbers], known[found], scores, None if titles is None else titles[found])

    def export(self, path: str | Path, format: str = "npz") -> None:
        """Writes the final vectors and raw ids for other programs: a folder with a README.md of how to load them.

        Args:
          path: the folder; a new one, or that of an export, which is replaced whole.
          format: npz, safetensors, parquet, usearch or faiss; the last two are indexes of the items.

        Raises:
          InputError: there is no such format, its package is not installed, the folder holds something else, or the
            model is one whose scores are no dot products.
          WriteError: the disk does not take it.
        """
        export.require_format(format)
        self._require_vectors("export")
        vectors = export.ExportedVectors(*self._raw_ids(), self.user_embeddings, self.item_embeddings, self._seen)
        export.write(vectors, Path(path), format)


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """float32[n, d]: the vectors with length 1; a vector of length 0 stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

"""Losses: pure functions of a batch's embeddings, each with its settings."""

from lgcn_jax.losses.bpr import BPR
from lgcn_jax.losses.enhanced import Enhanced
from lgcn_jax.losses.loss import EmbeddedBatch, Embeddings, Loss, Tables, l2_penalty, scores
from lgcn_jax.settings import Registry

__all__ = ["BPR", "LOSSES", "EmbeddedBatch", "Embeddings", "Enhanced", "Loss", "Tables", "l2_penalty", "scores"]

LOSSES: Registry[Loss] = Registry("loss", "the loss", {"enhanced": Enhanced, "bpr": BPR})

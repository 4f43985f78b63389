"""Encoders: models that are trained, each with its settings."""

from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Nodes
from lgcn_jax.models.inference import Inference, InferenceSettings
from lgcn_jax.models.lightgcn import LightGCN, LightGCNSettings
from lgcn_jax.settings import Registry

__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderSettings",
    "FoldIn",
    "Inference",
    "InferenceSettings",
    "LightGCN",
    "LightGCNSettings",
    "Nodes",
]

ENCODERS: Registry[EncoderSettings] = Registry("model", "the model that is trained", {"lightgcn": LightGCNSettings})

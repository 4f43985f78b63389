"""Encoders: models that are trained, each with its settings."""

from lgcn_jax.devices.parameters import Replicated
from lgcn_jax.models.egcf import EGCF, EGCFSettings
from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Head, Nodes
from lgcn_jax.models.inference import Inference, InferenceSettings
from lgcn_jax.models.lightgcn import LearnedLightGCN, LightGCN, LightGCNSettings
from lgcn_jax.models.lightgcnpp import LightGCNPlusPlus, LightGCNPlusPlusSettings
from lgcn_jax.models.mf import MF, MFSettings
from lgcn_jax.models.neumf import NeuMF, NeuMFSettings
from lgcn_jax.models.ngcf import NGCF, NGCFSettings
from lgcn_jax.settings import Registry

__all__ = [
    "EGCF",
    "ENCODERS",
    "MF",
    "NGCF",
    "EGCFSettings",
    "Encoder",
    "EncoderSettings",
    "FoldIn",
    "Head",
    "Inference",
    "InferenceSettings",
    "LearnedLightGCN",
    "LightGCN",
    "LightGCNPlusPlus",
    "LightGCNPlusPlusSettings",
    "LightGCNSettings",
    "MFSettings",
    "NGCFSettings",
    "NeuMF",
    "NeuMFSettings",
    "Nodes",
    "Replicated",
]

ENCODERS: Registry[EncoderSettings] = Registry(
    "model",
    "the model that is trained",
    {
        "lightgcn": LightGCNSettings,
        "mf": MFSettings,
        "lightgcn++": LightGCNPlusPlusSettings,
        "ngcf": NGCFSettings,
        "egcf": EGCFSettings,
        "neumf": NeuMFSettings,
    },
)

"""Losses: pure functions of a batch's embeddings, each with its settings."""

from lgcn_jax.losses.adap_tau import AdapTau
from lgcn_jax.losses.bpr import BPR
from lgcn_jax.losses.bsl import BSL
from lgcn_jax.losses.ccl import CCL
from lgcn_jax.losses.directau import DirectAU
from lgcn_jax.losses.egcf import EGCFLoss
from lgcn_jax.losses.enhanced import Enhanced
from lgcn_jax.losses.loss import (
    EmbeddedBatch,
    Embeddings,
    Loss,
    StepSizes,
    Tables,
    View,
    Views,
    WholeModel,
    keep_hardest_negatives,
    l2_penalty,
    scores,
)
from lgcn_jax.losses.simgcl import SimGCL
from lgcn_jax.losses.slatk import SLatK
from lgcn_jax.losses.ssm import SSM
from lgcn_jax.losses.xsimgcl import XSimGCL
from lgcn_jax.settings import Registry

__all__ = [
    "BPR",
    "BSL",
    "CCL",
    "LOSSES",
    "SSM",
    "AdapTau",
    "DirectAU",
    "EGCFLoss",
    "EmbeddedBatch",
    "Embeddings",
    "Enhanced",
    "Loss",
    "SLatK",
    "SimGCL",
    "StepSizes",
    "Tables",
    "View",
    "Views",
    "WholeModel",
    "XSimGCL",
    "keep_hardest_negatives",
    "l2_penalty",
    "scores",
]

LOSSES: Registry[Loss] = Registry(
    "loss",
    "the loss",
    {"enhanced": Enhanced, "bpr": BPR, "ssm": SSM, "bsl": BSL, "ccl": CCL, "directau": DirectAU}
    | {"sl@k": SLatK, "adap-tau": AdapTau, "simgcl": SimGCL, "xsimgcl": XSimGCL, "egcf": EGCFLoss},
)

"""Samplers: batches drawn on the device, a pure function of the key that is passed in."""

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.batch import Batch, Sampler
from lgcn_jax.sampling.edge import EdgeSampler, EdgeSamplerSettings
from lgcn_jax.sampling.shard import LocalPairs, SamplerSettings, Shard, build, build_shard
from lgcn_jax.sampling.user import UserSampler, UserSamplerSettings
from lgcn_jax.settings import Registry

__all__ = [
    "SAMPLERS",
    "Batch",
    "EdgeSampler",
    "LocalPairs",
    "Sampler",
    "SamplerSettings",
    "Shard",
    "UserSampler",
    "build",
    "build_shard",
    "pytree",
    "static",
]

SAMPLERS: Registry[SamplerSettings] = Registry(
    "sampler", "what an epoch draws", {"user": UserSamplerSettings, "edge": EdgeSamplerSettings}
)

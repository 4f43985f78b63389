"""Samplers: batches drawn on the device, a pure function of the key that is passed in."""

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.batch import Batch, Sampler
from lgcn_jax.sampling.dns import DNSSettings
from lgcn_jax.sampling.edge import EdgeSampler, EdgeSamplerSettings
from lgcn_jax.sampling.explicit import ExplicitNegatives, ExplicitSettings
from lgcn_jax.sampling.in_batch import InBatchNegatives, InBatchSettings
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership
from lgcn_jax.sampling.popularity import PopularityNegatives, PopularitySettings
from lgcn_jax.sampling.published import PublishedSampler, PublishedSamplerSettings
from lgcn_jax.sampling.shard import SamplerSettings, Shard, build_sampler, build_shard
from lgcn_jax.sampling.shared import SharedNegatives, SharedSettings
from lgcn_jax.sampling.uniform import UniformNegatives, UniformSettings
from lgcn_jax.sampling.user import UserSampler, UserSamplerSettings
from lgcn_jax.settings import Registry

__all__ = [
    "NEGATIVES",
    "SAMPLERS",
    "Batch",
    "DNSSettings",
    "EdgeSampler",
    "ExplicitNegatives",
    "ExplicitSettings",
    "InBatchNegatives",
    "InBatchSettings",
    "KnownPairs",
    "LocalPairs",
    "NegativeSettings",
    "Negatives",
    "Ownership",
    "PopularityNegatives",
    "PopularitySettings",
    "PublishedSampler",
    "Sampler",
    "SamplerSettings",
    "Shard",
    "SharedNegatives",
    "SharedSettings",
    "UniformNegatives",
    "UniformSettings",
    "UserSampler",
    "build_sampler",
    "build_shard",
    "pytree",
    "static",
]

SAMPLERS: Registry[SamplerSettings] = Registry(
    "sampler",
    "what an epoch draws",
    {"user": UserSamplerSettings, "edge": EdgeSamplerSettings, "published": PublishedSamplerSettings},
)

NEGATIVES: Registry[NegativeSettings] = Registry(
    "negatives",
    "where negative items come from (losses with a softmax take in-batch ones unless told otherwise); explicit: the "
    "user's disliked items, uniform for users without any",
    {
        "uniform": UniformSettings,
        "explicit": ExplicitSettings,
        "in-batch": InBatchSettings,
        "shared": SharedSettings,
        "popularity": PopularitySettings,
        "dns": DNSSettings,
    },
)

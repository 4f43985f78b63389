"""Which data set a run is of, and how it is split."""

import dataclasses

from lgcn_jax.data.reader import FORMATS
from lgcn_jax.settings import Settings, choice, integer, real, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """A data set by name or path, its splits, and the size of the synthetic one."""

    dataset: str = setting("", "a data set by name, a folder with train and test files, or one file of interactions")
    data_dir: str = setting("data", "folder in which named data sets are looked for, and put when fetched")
    format: str = choice("auto", FORMATS, "how files named by a path are read")
    test_fraction: float = real(
        0.2,
        "share of each user's items that is the test part, where a data set is one file",
        lambda v: 0 < v < 1,
        "a number between 0 and 1",
    )
    min_test_items: int = integer(
        1, "least number of a user's test items, as long as a train item is left; where a data set is one file", least=0
    )
    validation_fraction: float = real(
        0.0,
        "share of each user's train items held out for validation",
        lambda v: 0 <= v < 1,
        "a number from 0 to below 1",
    )
    data_seed: int = integer(0, "seed of splits and of the synthetic data set", least=0)
    num_users: int = integer(10_000, "users of the synthetic data set", least=2)
    num_items: int = integer(5_000, "items of the synthetic data set", least=2)
    num_interactions: int = integer(200_000, "interactions of the synthetic data set", least=2)

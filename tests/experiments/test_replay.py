"""The first ten epochs of the published code's run on LastFM, replayed on its own random numbers."""

import numpy as np
import published as figures
import pytest
import replay_paper

from lgcn_jax.data import datasets
from lgcn_jax.data.settings import DataSettings


@pytest.mark.parametrize("loss", ["enhanced", pytest.param("bpr", marks=pytest.mark.long)])
def test_the_published_curve_is_met(published, loss):
    interactions = datasets.load(DataSettings(dataset="lastfm", data_dir=published("lastfm")))
    items_of = replay_paper.items_by_raw_user(interactions)
    replay = replay_paper.Replay(loss, interactions)
    curve = figures.lastfm_curve(loss)
    np.random.seed(replay_paper.SEED)  # noqa: NPY002
    assert replay.recall() == pytest.approx(curve[0], abs=2e-8)
    for _ in range(10):
        replay.train(replay_paper.published_epoch(interactions, items_of))
    assert replay.recall() == pytest.approx(curve[10], abs=1.5e-4)  # one hit in one list at most

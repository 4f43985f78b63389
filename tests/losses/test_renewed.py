"""SL@K and Adap-tau against plain PyTorch, and their statistics against plain NumPy, in float64."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads
from scipy.special import lambertw

from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.losses import AdapTau, EmbeddedBatch, Embeddings, SLatK, Tables, WholeModel, adap_tau

SIZE, DIM, DRAWN, USERS, ITEMS = 9, 5, 6, 12, 15
BETA = np.linspace(-0.5, 0.5, SIZE)
OWN, EACH = 0.11, np.linspace(0.05, 0.2, SIZE)  # temperatures


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def world(*shapes) -> list[np.ndarray]:
    random = np.random.default_rng(23)
    return [random.standard_normal(shape) for shape in shapes]


def mean(loss, statistics, user, positive, negative=None) -> jax.Array:
    rows = Embeddings(user, positive, negative)
    weight, item = jnp.full(SIZE, 1 / SIZE), jnp.arange(SIZE, dtype=jnp.int32)
    batch = EmbeddedBatch(rows, rows, weight, item, None, None, statistics=statistics)
    return loss.terms(batch)["softmax"].mean()


def slatk(user, positive, negative) -> torch.Tensor:
    """As the published code: the gradient flows through the weight."""
    cosine = torch.nn.functional.cosine_similarity
    own, drawn = cosine(user, positive), cosine(user[None], negative, dim=2).T
    softmax = torch.logsumexp((drawn - own[:, None]) / 0.3, dim=1)
    return (torch.sigmoid((own - torch.tensor(BETA)) / 0.75) * softmax).mean()


def adaptau(user, positive) -> torch.Tensor:
    """As the published code, but that it gives the first example's own score twice its slope."""
    user, positive = (torch.nn.functional.normalize(rows, dim=-1) for rows in (user, positive))
    scores = user @ positive.T
    others = torch.exp(scores / torch.tensor(EACH)[:, None]).masked_fill(torch.eye(SIZE, dtype=torch.bool), 0)
    return -torch.log(torch.exp(scores.diagonal() / OWN) / others.sum(1)).mean()


@pytest.mark.parametrize("name", ["sl@k", "adap-tau"])
def test_value_and_gradient_are_the_published_code_s(name):
    loss, statistics, reference, shapes = {
        "sl@k": (SLatK(temperature=0.3), {"beta": BETA}, slatk, ((SIZE, DIM), (SIZE, DIM), (DRAWN, SIZE, DIM))),
        "adap-tau": (AdapTau(), {"temperature": OWN, "user_temperature": EACH}, adaptau, ((SIZE, DIM),) * 2),
    }[name]
    rows, statistics = world(*shapes), {name: jnp.asarray(value) for name, value in statistics.items()}
    theirs = [torch.tensor(part, requires_grad=True) for part in rows]
    expected = reference(*theirs)
    expected.backward()

    def ours(*rows):
        return mean(loss, statistics, *rows)

    arguments = list(map(jnp.asarray, rows))
    found, slopes = jax.value_and_grad(ours, tuple(range(len(rows))))(*arguments)
    assert float(found) == pytest.approx(expected.item(), rel=1e-10)
    for slope, their in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-9)
    check_grads(ours, arguments, order=1, modes=["rev"])


def whole(epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, WholeModel]:
    """Unit vectors of users and items, the 0/1 matrix of pairs, and the model that has them. User 0 has no pair."""
    users, items = world((USERS, DIM), (ITEMS, DIM))
    liked = np.random.default_rng(5).random((USERS, ITEMS)) < np.linspace(0.1, 0.5, USERS)[:, None]
    liked[0], liked[1:, 3] = False, True
    pairs, share = liked.sum(1).astype(float), liked.sum(0) / liked.sum()
    of_own = jnp.asarray(liked / np.maximum(pairs, 1)[:, None])
    model = WholeModel(
        Tables(jnp.asarray(users), jnp.asarray(items)),
        jnp.int32(epoch),
        jnp.asarray(pairs),
        jnp.asarray(share),
        lambda rows: of_own @ rows,
        lambda function, rows, width: function(rows),
        {"user_loss": jnp.asarray(np.random.default_rng(6).standard_normal(USERS))},
    )
    units = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (users, items))
    return *units, liked, model


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_adap_tau_s_temperatures_are_the_formulas(epoch):
    """The gap is assumed until epoch 3 and measured in epoch 4; users' own temperatures begin in epoch 2, of
    their losses at both ends of the epoch before."""
    users, items, liked, model = whole(epoch)
    loss, cosine, pairs = AdapTau(spread=0.2, assumed_epochs=3), users @ items.T, liked.sum(1)
    often = pairs > np.quantile(pairs, 0.2)
    measured = cosine[often][liked[often]].mean() - cosine[often].mean()
    gap = measured if epoch > 3 else 0.7
    expected = gap / (math.log(0.5) + math.log(often.sum() * ITEMS) - math.log(liked[often].sum()))
    losses = [
        math.log(liked.sum(0) @ np.exp(cosine[u]) / liked.sum()) - cosine[u][liked[u]].mean() for u in range(1, USERS)
    ]
    mean_losses = (np.array(losses) + np.asarray(model.previous["user_loss"])[1:]) / 2
    adapted = np.exp(lambertw(np.maximum((mean_losses - np.mean(mean_losses)) / 0.2, -1 / math.e + 1e-15)).real)
    found = loss.renewed(model)
    np.testing.assert_allclose(found["user_loss"][1:], losses, rtol=1e-9)
    assert float(found["temperature"]) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(found["user_temperature"][1:], expected * (adapted if epoch > 1 else 1), rtol=1e-6)
    assert found["user_temperature"][0] == found["temperature"]
    assert losses != sorted(losses)
    assert adapted.min() < 0.4 < 1.1 < adapted.max()


def test_a_temperature_is_above_0_also_where_train_pairs_are_further_apart_than_all_pairs():
    """The gap that is assumed is used then: a measured one would give a temperature below 0."""
    model = whole(4)[-1]
    away = model._replace(mean_of_own=lambda rows: -model.final.users)
    loss = AdapTau(assumed_epochs=3)
    found, assumed = (loss.renewed(each)["temperature"] for each in (away, away._replace(epoch=jnp.int32(1))))
    assert float(found) == float(assumed) > 0


def test_adap_tau_begins_on_gowalla_as_the_published_log_says(published):
    """w_0 = 9.17942387..., the inverse of the temperature of the first epoch."""
    lines = (Path(published("gowalla")) / "gowalla" / "train.txt").read_text().splitlines()
    pairs, items = np.array([len(line.split()) - 1 for line in lines], float), jnp.zeros((40_981, 2))
    users = jnp.zeros((len(pairs), 2))
    model = WholeModel(
        Tables(users, items),
        jnp.int32(1),
        jnp.asarray(pairs),
        jnp.ones(len(items)) / len(items),
        lambda rows: jnp.zeros_like(users),
        lambda function, rows, width: jnp.zeros(len(rows)),
        {"user_loss": jnp.zeros(len(users))},
    )
    assert 1 / float(AdapTau().renewed(model)["temperature"]) == pytest.approx(9.17942387, rel=1e-7)


def test_a_user_s_loss_is_estimated_of_items_at_equal_steps_of_their_share(monkeypatch):
    users, items, liked, model = whole(2)
    expected = np.log(np.exp(users @ items.T) @ (liked.sum(0) / liked.sum()))
    exact = adap_tau._log_mean_exp_of(jnp.asarray(items), model.positive_probability)(jnp.asarray(users))
    np.testing.assert_allclose(exact, expected, rtol=1e-9)
    monkeypatch.setattr(adap_tau, "SAMPLED_ITEMS", 14)
    estimate = adap_tau._log_mean_exp_of(jnp.asarray(items), model.positive_probability)(jnp.asarray(users))
    np.testing.assert_allclose(estimate, expected, atol=0.1)
    assert np.abs(estimate - expected).max() > 1e-6


@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_beta_is_the_kth_best_score_of_all_items(score):
    users, items, _, model = whole(6)
    if score == "dot":
        users, items = map(np.asarray, model.final)
    found = SLatK(weight_k=4, score=score).renewed(model)["beta"]
    np.testing.assert_allclose(found, np.sort(users @ items.T)[:, -4], rtol=1e-10)


def test_when_statistics_are_renewed():
    assert [epoch for epoch in range(1, 13) if SLatK(renew_every=5).renewal_due(epoch)] == [6, 11]
    assert [epoch for epoch in range(1, 4) if SLatK(renew_every=1).renewal_due(epoch)] == [2, 3]
    assert all(AdapTau().renewal_due(epoch) for epoch in range(1, 4))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"loss": "adap-tau", "score": "dot"}, r"--score: found dot, expected cosine with --loss=adap-tau"),
        ({"loss": "adap-tau", "logq": True}, r"--logq: found true, expected false with --loss=adap-tau"),
        ({"loss": "adap-tau", "negatives": "shared"}, r"--negatives: found shared, expected in-batch with --loss=adap"),
        ({"loss": "adap-tau", "temperature": 0.1}, r"--temperature: found 0.1, expected nothing with --loss=adap-tau"),
        ({"loss": "adap-tau", "spread": 0.0}, r"--spread: found 0.0, expected a number above 0"),
        ({"loss": "sl@k", "weight_temperature": 0.0}, r"--weight_temperature: found 0.0, expected a number above 0"),
        ({"loss": "sl@k", "renew_every": 0}, r"--renew_every: found 0, expected an integer from 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(stated, message):
    with pytest.raises(InputError, match=message):
        Config.of(**stated)


def test_data_that_do_not_go_with_a_loss_are_refused():
    with pytest.raises(InputError, match=r"--weight_k: found 16, expected at most 15, the number of items"):
        SLatK(weight_k=16).validate(np.full(3, 2), 15)
    for pairs, items in ((np.full(5, 3), 90), (np.asarray([1, 1, 8, 9]), 10)):
        with pytest.raises(InputError, match=r"--loss: found adap-tau, expected another on data"):
            AdapTau().validate(pairs, items)

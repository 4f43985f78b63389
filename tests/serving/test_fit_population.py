"""`fit_population`: models as if each had been fitted alone, in memory and in a folder."""

import numpy as np
import pytest

import lgcn_jax as lg

HOW = {"num_layers": 1, "embedding_dim": 8, "batch_size": 256, "epochs": 3, "eval_every": 1, "top_k": (5,)}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", num_users=120, num_items=90, num_interactions=1500, validation_fraction=0.1)


@pytest.fixture(scope="module")
def found(interactions):
    grid = {"margin": [0.0, 0.3], "seed": [1, 2]}
    return lg.fit_population(interactions, grid, quiet=True, eval_split="valid", **HOW)


def test_each_is_the_model_that_is_fitted_alone(interactions, found, tmp_path):
    alone = lg.LightGCN(margin=0.3, seed=1, eval_split="valid", **HOW).fit(interactions, quiet=True)
    model = found[2]
    assert found.members[2] == {"margin": 0.3, "seed": 1}
    np.testing.assert_allclose(model.user_embeddings, alone.user_embeddings, atol=2e-6)
    assert model.get_params() == alone.get_params() | {"model": "lightgcn"}
    assert model.evaluate(interactions) == pytest.approx(alone.evaluate(interactions))
    assert model.recommend([3, 4], k=5).ids.tolist() == alone.recommend([3, 4], k=5).ids.tolist()
    model.save(tmp_path / "saved")
    assert (lg.load_model(tmp_path / "saved").item_embeddings == model.item_embeddings).all()
    assert model.fold_in({1001: [3, 4]}, k=3).vectors.shape == (1, 8)


def test_it_is_a_sequence_with_results(interactions, found):
    assert (len(found), len(list(found)), found.status) == (4, 4, "completed")
    assert [model.status for model in found] == ["completed"] * 4
    assert found.results[0]["test"]["epoch"] == found.results[0]["best"]["epoch"]
    assert found.results[0]["test"]["recall@5"] == pytest.approx(found[0].evaluate(interactions, k=5)["recall@5"])
    assert "4 models" in repr(found)


def test_in_a_folder_it_is_the_same(interactions, found, tmp_path):
    """To the bit; and what the folder holds is not trained again."""
    grid = [{"margin": margin, "seed": seed} for margin in (0.0, 0.3) for seed in (1, 2)]
    how = {"quiet": True, "workdir": tmp_path / "run", "eval_split": "valid", **HOW}
    for _ in range(2):
        made = lg.fit_population(interactions, grid, **how)
        for model, other in zip(made, found, strict=True):
            assert (model.user_embeddings == other.user_embeddings).all()
    with pytest.raises(lg.InputError, match="found other members than those of members"):
        lg.fit_population(interactions, grid[:3], **how)


def test_settings_hold_for_all_but_where_a_member_says_otherwise(interactions, tmp_path):
    """The same again, when what some members do not say is not said anew."""
    own, how = [{"margin": 0.4}, {"seed": 7}], {"workdir": tmp_path / "run", "quiet": True, **HOW}
    made = lg.fit_population(interactions, own, margin=0.3, seed=5, **how)
    assert made.members == [{"margin": 0.4, "seed": 5}, {"margin": 0.3, "seed": 7}]
    assert lg.fit_population(interactions, own, **how).members == made.members
    with pytest.raises(lg.InputError, match="found other members"):
        lg.fit_population(interactions, own, margin=0.2, **how)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_member_that_fails_leaves_the_others(interactions):
    own = [{"learning_rate": 0.001}, {"learning_rate": 1e30}]
    made = lg.fit_population(interactions, own, quiet=True, loss="bpr", clip_norm=0, **HOW)
    assert [model.status for model in made] == ["completed", "failed"]
    assert "at epoch 1" in made.results[1]["error"]
    with pytest.raises(lg.InputError, match="a model that was not fitted"):
        made[1].recommend([3])
    with pytest.raises(FloatingPointError, match="all members failed"):
        lg.fit_population(interactions, own[1:], quiet=True, loss="bpr", clip_norm=0, **HOW)


@pytest.mark.parametrize(
    ("members", "settings", "said"),
    [
        ([], {}, "members: found no member"),
        ([{"margn": 1}], {}, "did you mean margin"),
        (
            [{"num_negatives": 2}],
            {},
            "members, member 0: num_negatives: found a setting that decides the compiled program",
        ),
        ("seeds:1-2", {"dataset": "x"}, "dataset: found x, expected nothing here"),
        (None, {}, "members: found a NoneType"),
        ("seeds:1-2", {"callbacks": [1]}, "callbacks: found 1 among them"),
        ("seeds:1-2", {"workdir": 7}, "workdir: found 7, expected a path"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name_in_python(interactions, members, settings, said):
    with pytest.raises(lg.InputError) as caught:
        lg.fit_population(interactions, members, **HOW | settings)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)

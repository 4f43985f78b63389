"""The published SimGCL that ours is compared with: its encoder is ours, and bad input ends in one line."""

import jax
import numpy as np
import pytest
import simgcl_published
import torch

from lgcn_jax.data import datasets
from lgcn_jax.training.setup import build_setup


@pytest.fixture(autouse=True)
def unstated():
    """The flags of each call are its own."""
    for name in simgcl_published.FLAGS:
        simgcl_published.FLAGS[name].unparse()


def test_their_encoder_is_ours_without_noise_and_noise_has_its_length():
    simgcl_published.FLAGS(["x", "--dataset=synthetic", "--num_layers=1", "--batch_size=64"])
    config = simgcl_published.settings().replace(num_users=60, num_items=50, num_interactions=900, embedding_dim=8)
    data = datasets.load(config.data)
    setup = build_setup(config, data)
    encoder = simgcl_published.Encoder(setup, data)
    found, noisy = (torch.cat(encoder(perturbed)).detach().numpy() for perturbed in (False, True))
    from flax import nnx

    state = setup.init_state()
    ours = jax.jit(lambda params: nnx.merge(setup.graphdef(), params)(setup.adjacency.layout))(state.params)
    np.testing.assert_allclose(found, np.asarray(ours)[setup.adjacency.row_of_node], rtol=1e-5, atol=1e-6)
    there = np.abs(found).sum(1) > 0
    np.testing.assert_allclose(np.linalg.norm((noisy - found)[there], axis=1), 0.1, rtol=1e-3)
    first = torch.nn.functional.normalize(torch.tensor(found[:5]), dim=1).numpy().astype(np.float64) / 0.2**0.5
    logits = first @ first.T
    expected = np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits))
    assert simgcl_published.info_nce(*[torch.tensor(found[:5])] * 2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        (("--dataset=nowhere",), "--dataset: found 'nowhere', expected one of"),
        (("--noise=-1",), "--noise=-1"),
        (("--wide=3",), "Unknown command line flag 'wide'"),
        (("lastfm",), "simgcl_published: found the argument 'lastfm', expected flags alone"),
    ],
)
def test_bad_input_ends_in_one_line(stated, line, capsys):
    with pytest.raises(SystemExit) as stopped:
        simgcl_published.main(["simgcl_published.py", *stated])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert line in err
    assert (err.count("\n"), out) == (1, "")

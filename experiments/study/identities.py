"""What the loss is, checked on numbers: python experiments/study/identities.py

With one negative the paper's two-way log-softmax at temperature T is softplus((neg - pos) / T): BPR whose scores are
divided by T. So the loss is a * softplus(m - x) + (1 - a) * softplus(-x / T) of the lead x = pos - neg, and a pair
with lead x is pulled with the weight a * sigmoid(m - x) + (1 - a) / T * sigmoid(-x / T). Here the library's own terms
and their gradients are held against these formulas; the file of results has the largest differences, and the weights.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from parts import PAPER

from lgcn_jax.losses import BPR, EmbeddedBatch, Embeddings, Enhanced, Loss
from lgcn_jax.runs import workdir
from lgcn_jax.system import files

BATCH, WIDTH, SCALES = 2048, 64, (0.1, 0.5, 1.0)
TEMPERATURES, MARGINS = (0.1, 0.2, 0.5, 1.0), (0.0, 0.05, 0.5)
LEADS = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)

FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()
flags.DEFINE_string(
    "results", str(Path(__file__).parent / "results"), "folder of the files of results", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    FLAGS(arguments)
    found = {"name": "identities", "command": "python experiments/study/identities.py", "checks": checks()}
    found |= {"weights": weights(), "versions": workdir.versions()}
    path = Path(FLAGS.results) / "identities.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, (json.dumps(found, indent=1) + "\n").encode())
    for check in found["checks"]:
        print(f"{check['largest difference']:.2e}  {check['claim']}")


def value_and_gradient(loss: Loss, rows: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the loss' terms, without L2, and its gradient with respect to all rows, flat."""

    def total(rows: Embeddings) -> jax.Array:
        weight = jnp.full(BATCH, 1 / BATCH, jnp.float32)
        batch = EmbeddedBatch(rows, rows, weight, jnp.zeros(BATCH, jnp.int32), None, None)
        terms = loss.terms(batch)
        return sum(weight * terms[name].mean() for name, weight in loss.weights.items())

    value, gradient = jax.value_and_grad(total)(rows)
    return np.asarray(value), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])


def drawn(scale: float) -> Embeddings:
    """Normal rows, of which the user's and the positive item's are alike."""
    user, positive, negative = jax.random.normal(jax.random.key(0), (3, BATCH, WIDTH), jnp.float32) * scale
    return Embeddings(user, 0.5 * user + positive, negative[None])


def checks() -> list[dict[str, Any]]:
    """Each claim with the largest difference found: of gradients, relative to the largest gradient."""
    same = "the enhanced loss with margin 0 and temperature 1 is BPR, whatever alpha"
    slope = "the contrastive term at temperature T has BPR's gradient at scores divided by T, times 1 / T"
    found = {same: 0.0, slope: 0.0}
    for scale in SCALES:
        rows = drawn(scale)
        _, bpr = value_and_gradient(BPR(), rows)
        for alpha in (0.0, 0.3, 0.8, 1.0):
            _, ours = value_and_gradient(Enhanced(margin=0.0, temperature=1.0, alpha=alpha), rows)
            found[same] = max(found[same], _relative(ours, bpr))
        for temperature in TEMPERATURES:
            _, ours = value_and_gradient(Enhanced(temperature=temperature, alpha=0.0), rows)
            found[slope] = max(found[slope], _relative(ours, _scaled_bpr(rows, temperature)))
    return [{"claim": claim, "largest difference": float(f"{value:.2e}")} for claim, value in found.items()]


def _scaled_bpr(rows: Embeddings, temperature: float) -> np.ndarray:
    """The gradient of BPR whose users' rows, and so scores, are divided by T, with respect to the rows themselves."""
    scaled = rows._replace(user=rows.user / temperature)
    _, gradient = value_and_gradient(BPR(), scaled)
    user = BATCH * WIDTH
    return np.concatenate([gradient[:user] / temperature, gradient[user:]])


def _relative(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max() / np.abs(second).max())


def weights() -> dict[str, Any]:
    """The weight with which a pair of each lead is pulled apart, by loss; and that relative to a pair with lead 0."""
    lead = np.array(LEADS)
    found = {"bpr": _sigmoid(-lead), "margin": _sigmoid(PAPER["margin"] - lead)}
    found["contrast"] = _sigmoid(-lead / PAPER["temperature"]) / PAPER["temperature"]
    found["both"] = PAPER["alpha"] * found["margin"] + (1 - PAPER["alpha"]) * found["contrast"]
    return {"lead": list(LEADS)} | {name: [float(f"{v:.4g}") for v in column] for name, column in found.items()}


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


if __name__ == "__main__":
    main(sys.argv)

"""LightGCN with the paper's loss in plain PyTorch, computed as LightGCN-PyTorch computes: the yardstick and the oracle.

Written from the formulas of the paper (sections 2.1 to 3.3), independently of lgcn_jax: torch.sparse COO
products, stacked layers, torch.optim.Adam.
"""

import numpy as np
import torch

from lgcn_jax.config import Config
from lgcn_jax.data.csr import CSR
from lgcn_jax.losses import Enhanced


def normalized_adjacency(train: CSR, num_items: int, dtype=torch.float32) -> torch.Tensor:
    """Coalesced torch.sparse COO [num_nodes, num_nodes] with entries 1 / sqrt(|N_u| |N_i|) for every train pair."""
    indptr, items = torch.from_numpy(np.array(train.indptr)), torch.from_numpy(np.array(train.indices)).long()
    num_users = len(indptr) - 1
    users = torch.repeat_interleave(torch.arange(num_users), indptr.diff().long())
    user_degree = torch.bincount(users, minlength=num_users)
    item_degree = torch.bincount(items, minlength=num_items)
    value = 1 / torch.sqrt(user_degree[users].to(dtype) * item_degree[items].to(dtype))
    both_ways = torch.stack([torch.cat([users, items + num_users]), torch.cat([items + num_users, users])])
    num_nodes = num_users + num_items
    return torch.sparse_coo_tensor(
        both_ways, torch.cat([value, value]), (num_nodes, num_nodes), check_invariants=True
    ).coalesce()


def layers(adjacency: torch.Tensor, table: torch.Tensor, num_layers: int) -> list[torch.Tensor]:
    """e^(0), ..., e^(K) of all nodes (section 2.1)."""
    found = [table]
    for _ in range(num_layers):
        found.append(torch.sparse.mm(adjacency, found[-1]))
    return found


def ranking_loss(pos_scores, neg_scores, margin: float) -> torch.Tensor:
    """Section 3.1."""
    return torch.mean(torch.nn.functional.softplus(neg_scores - pos_scores + margin))


def contrastive_loss(pos_scores, neg_scores, temperature: float) -> torch.Tensor:
    """Section 3.2."""
    logits = torch.stack([pos_scores / temperature, neg_scores / temperature], dim=1)
    return torch.mean(-torch.nn.functional.log_softmax(logits, dim=1)[:, 0])


class Trainer:
    """Tables, optimizer and graph; `step` is one step of training.

    Args:
      config: loss and optimizer settings.
      train: CSR of users over items.
      initial: [num_nodes, d], users then items; its dtype is that of all arithmetic.
      device: where to compute.
    """

    def __init__(self, config: Config, train: CSR, initial: np.ndarray, device: torch.device | str = "cpu"):
        self.config = config
        rows = torch.from_numpy(np.array(initial)).to(device)
        self.num_users = len(train.indptr) - 1
        num_items = len(rows) - self.num_users
        self.adjacency = normalized_adjacency(train, num_items, rows.dtype).to(device)
        self.users = torch.nn.Parameter(rows[: self.num_users].clone())
        self.items = torch.nn.Parameter(rows[self.num_users :].clone())
        self.optimizer = torch.optim.Adam([self.users, self.items], lr=config.optimizer.learning_rate)

    def final(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The layers' weighted sum, split into users and items; a plain mean where the weights are uniform."""
        found = layers(self.adjacency, torch.cat([self.users, self.items]), self.config.model.num_layers)
        stacked = torch.stack(found, dim=1)
        if self.config.model.layer_weights:
            weights = torch.tensor(self.config.model.layer_weights, dtype=stacked.dtype, device=stacked.device)
            combined = (stacked * weights[:, None]).sum(1)
        else:
            combined = torch.mean(stacked, dim=1)
        return torch.split(combined, [self.num_users, len(self.items)])

    def loss(self, user, positive, negative) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The total and its terms for a batch of ids, int64[B] each (section 3.3, and L2 on layer 0)."""
        loss = self.config.loss
        users, items = self.final()
        pos_scores = torch.sum(users[user] * items[positive], dim=1)
        neg_scores = torch.sum(users[user] * items[negative], dim=1)
        rows = self.users[user], self.items[positive], self.items[negative]
        terms = {
            "ranking": ranking_loss(pos_scores, neg_scores, getattr(loss, "margin", 0.0)),
            "l2": 0.5 * sum(row.norm(2).pow(2) for row in rows) / len(user),
        }
        combined = terms["ranking"]
        if isinstance(loss, Enhanced):
            terms["contrastive"] = contrastive_loss(pos_scores, neg_scores, loss.temperature)
            combined = loss.alpha * terms["ranking"] + (1 - loss.alpha) * terms["contrastive"]
        return combined + loss.l2 * terms["l2"], terms

    def step(self, user, positive, negative) -> float:
        """One clipped Adam step; returns the loss before it, and so waits for the device."""
        loss, _ = self.loss(user, positive, negative)
        self.optimizer.zero_grad()
        loss.backward()
        if self.config.optimizer.clip_norm:
            self._clip()
        self.optimizer.step()
        return loss.item()

    def _clip(self) -> None:
        """Clips the global norm; torch's clip_grad_norm_ adds 1e-6 to the norm, which float64 would show."""
        norm = torch.sqrt(sum(rows.grad.square().sum() for rows in (self.users, self.items)))
        for rows in (self.users, self.items):
            rows.grad.mul_(torch.clamp(self.config.optimizer.clip_norm / norm, max=1.0))

    def table(self) -> np.ndarray:
        """[num_nodes, d] on the host, users then items."""
        return torch.cat([self.users, self.items]).detach().cpu().numpy()

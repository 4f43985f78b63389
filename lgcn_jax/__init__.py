"""LightGCN with the enhanced loss, in JAX."""

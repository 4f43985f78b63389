"""Evaluation: metrics of the top k of all items, on the device."""

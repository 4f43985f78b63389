"""The examples of the documentation of public names give what they show."""

import doctest
import importlib

import pytest

import lgcn_jax as lg

MODULES = (
    *("lgcn_jax", "lgcn_jax.errors", "lgcn_jax.data.interactions", "lgcn_jax.data.reading"),
    *("lgcn_jax.evaluation.results", "lgcn_jax.optimization.cosine"),
    *("lgcn_jax.losses.simgcl", "lgcn_jax.losses.xsimgcl", "lgcn_jax.losses.egcf", "lgcn_jax.models.egcf"),
    *("lgcn_jax.models.lightgcn", "lgcn_jax.models.lightgcnpp", "lgcn_jax.models.mf", "lgcn_jax.models.ngcf"),
    *("lgcn_jax.serving.models", "lgcn_jax.serving.recommendations"),
    *("lgcn_jax.serving.loading", "lgcn_jax.serving.uploads", "lgcn_jax.serving.solved"),
    *("lgcn_jax.serving.mixture", "lgcn_jax.models.inference"),
    *("lgcn_jax.reporting.report", "lgcn_jax.reporting.scales", "lgcn_jax.reporting.svg"),
    *("lgcn_jax.runs.usage", "lgcn_jax.serving.record"),
    *("lgcn_jax.searching.results", "lgcn_jax.searching.search"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_every_public_name_has_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    tested = {
        name
        for name in set(lg.__all__) - {"__version__", "LightGCN"}
        if finder.find(getattr(lg, name), name)[0].examples
    }
    assert tested == set(lg.__all__) - {"__version__", "LightGCN"}  # LightGCN's is that of Model

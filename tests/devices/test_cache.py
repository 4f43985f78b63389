"""Compiled programs kept in a folder: taken from there by the next run, without a change of a bit."""

import contextlib
import json

import jax
import jax.numpy as jnp
import pytest

from lgcn_jax.cli import main
from lgcn_jax.devices import cache
from lgcn_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("uncached")

WORLD = ["--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000", "--top_k=5"]
MODEL = ["--num_layers=1", "--embedding_dim=4", "--batch_size=256", "--eval_every=2", "--quiet"]


def train(folder, *more) -> str:
    """The hash of the tables that the run ends with."""
    assert main.main(["train", *WORLD, *MODEL, f"--workdir={folder}", *more]) == 0
    return json.loads((folder / "result.json").read_text())["parameters_sha256"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> str:
    """The hash that a run without the flag ends with."""
    return train(tmp_path_factory.mktemp("plain") / "run", "--epochs=4")


@contextlib.contextmanager
def counted():
    """How many programs were found in the cache, and how many were not."""
    counts = {"cache_hits": 0, "cache_misses": 0}

    def count(event, **_):
        name = event.rpartition("/")[2]
        if name in counts:
            counts[name] += 1

    jax.monitoring.register_event_listener(count)
    try:
        yield counts
    finally:
        jax.monitoring.unregister_event_listener(count)


def test_a_second_run_finds_its_programs_and_ends_with_the_same_bits(tmp_path, plain):
    flag = f"--compilation_cache={tmp_path / 'cache'}"
    with counted() as first:
        found = train(tmp_path / "first", "--epochs=4", flag)
    assert first["cache_misses"] >= 3  # shuffle, block and evaluation
    with counted() as second:
        again = train(tmp_path / "second", "--epochs=4", flag)
    assert second["cache_misses"] == 0
    assert second["cache_hits"] >= 3
    assert found == again == plain


def test_it_may_change_when_a_run_is_continued_and_is_no_setting_of_it(tmp_path, plain):
    train(tmp_path / "run", "--epochs=2", f"--compilation_cache={tmp_path / 'cache'}")
    assert "cache" not in (tmp_path / "run" / "config.json").read_text()
    assert train(tmp_path / "run", "--epochs=4", f"--compilation_cache={tmp_path / 'other'}") == plain
    assert list((tmp_path / "other").iterdir())


def test_a_moved_folder_is_still_of_use(tmp_path):
    def compile_anew():
        jax.jit(lambda x: x * 3 + 1).lower(jnp.ones(7)).compile()

    with cache.compilation_cache(tmp_path / "here"):
        compile_anew()
    (tmp_path / "here").rename(tmp_path / "there")
    with counted() as counts, cache.compilation_cache(tmp_path / "there"):
        compile_anew()
    assert counts["cache_misses"] == 0


def test_the_settings_are_those_of_before_afterwards(tmp_path):
    names = [name for name in dir(jax.config) if "_cache_" in name]
    before = {name: getattr(jax.config, name) for name in names}
    with pytest.raises(ZeroDivisionError), cache.compilation_cache(tmp_path):
        raise ZeroDivisionError
    assert {name: getattr(jax.config, name) for name in names} == before


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with (
            pytest.raises(InputError, match=r"--compilation_cache: found .*expected a folder"),
            cache.compilation_cache(folder),
        ):
            pass

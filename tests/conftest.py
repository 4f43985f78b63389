"""Strict JAX, eight CPU devices, a tiny world with a known answer, and where the published data sets are."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import xla_flags

# Of two that differ the last one holds.
os.environ["XLA_FLAGS"] = f"{xla_flags.xla_flags(devices=8)} {os.environ.get('XLA_FLAGS', '')}"

import hypothesis
import jax
import pytest
from compiled import Store
from events_of import pairs
from jax.experimental.compilation_cache import compilation_cache

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions, assemble
from lgcn_jax.data.named import ENVIRONMENT, NAMED
from lgcn_jax.devices import cache
from lgcn_jax.runs import curves

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_platforms", "cpu")

# The same examples in every run: a test that fails does so for everybody.
hypothesis.settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("project")

gc.set_threshold(50_000, 20, 50)  # JAX keeps a million objects, and each collection looks at all of them


# Their tests are few and long: begun last, they would leave the other process of pytest with nothing to do.
LONG_FILES = ("test_kill.py", "test_processes.py", "test_run.py", "test_mesh.py", "test_readme.py", "test_replay.py")


def pytest_report_header() -> str | None:
    """Says why compilation takes longer than it might."""
    missing = [name for name in xla_flags.QUICK_TO_COMPILE if not xla_flags.is_known(name)]
    return f"this version of XLA does not have {', '.join(missing)}" if missing else None


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    """The programs that earlier tests and earlier runs of the tests compiled, beside pytest's temporary folders."""
    base = tmp_path_factory.getbasetemp()
    of_pytest = [folder for folder in base.parents if folder.name.startswith("pytest-of-")]
    return Store((of_pytest[0] if of_pytest else base) / "programs")


@pytest.fixture(scope="session")
def compiled_once(store, tmp_path_factory):
    """What these tests compile goes into a folder of this process of pytest, which begins with what the store has."""
    folder = store.lend(tmp_path_factory.mktemp("programs"))
    with cache.compilation_cache(folder):
        yield folder


@pytest.fixture(scope="module", autouse=True)
def kept(store, compiled_once):
    """Each file of tests takes from the store what other processes of pytest have put there, and adds to it."""
    store.lend(compiled_once)
    yield
    store.keep(compiled_once)


@pytest.fixture(scope="session", autouse=True)
def stand_ins():
    """Commands that tests run as processes of their own don't wait for what they can do without."""
    folder = str(Path(__file__).with_name("stand_ins"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH")))))
        yield


@pytest.fixture(scope="module")
def programs(store, tmp_path_factory):
    """The flag by which commands in processes of their own share what they compile; for one command at a time."""
    folder = store.lend(tmp_path_factory.mktemp("programs"))
    yield f"--compilation_cache={folder}"
    store.keep(folder)


@pytest.fixture
def kept_by_jax(programs) -> dict[str, str]:
    """The same as environment variables, for programs that have no such flag."""
    settings = cache.cache_settings(Path(programs.partition("=")[2]))
    return {name.upper(): str(value) for name, value in settings.items()}


@pytest.fixture(scope="module")
def of_each(store, tmp_path_factory):
    """The same for two processes at a time: the flags of each, which compiles into a folder of its own."""
    folders = [store.lend(tmp_path_factory.mktemp("programs")) for _ in range(2)]
    yield [[f"--compilation_cache={folder}"] for folder in folders]
    for folder in folders:
        store.keep(folder)


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Runs of tests write an empty picture, which takes as long to draw as everything else they do."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(curves, "_png_bytes", lambda figure: b"")


@pytest.fixture
def uncached():
    """Compiles anew what the test needs."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture
def checkerboard() -> Interactions:
    """Even users like even items, odd users odd ones; each misses one liked item, its test item.

    12 users, 12 items: user u likes the six items of its parity and has not seen item (u + 4) % 12.
    """
    liked = [(u, i) for u in range(12) for i in range(12) if (u - i) % 2 == 0]
    test = [(u, (u + 4) % 12) for u in range(12)]
    return assemble("checkerboard", pairs(sorted(set(liked) - set(test))), pairs(test))


@pytest.fixture
def small() -> Config:
    """A synthetic world that trains in a second."""
    return Config.of(
        dataset="synthetic",
        num_users=300,
        num_items=200,
        num_interactions=5000,
        num_layers=2,
        embedding_dim=16,
        batch_size=256,
        epochs=4,
        eval_every=2,
        top_k=(5, 20),
    )


@pytest.fixture(scope="session")
def published() -> Callable[[str], str]:
    """Finds the folder that has a published data set, by its name; skips where the set is missing."""
    here = Path(__file__).resolve().parents[1]
    folders = list(map(Path, filter(None, (os.environ.get(ENVIRONMENT), here.parent / "shared" / "data"))))

    def folder_of(name: str) -> str:
        files = [source.file for source in (NAMED[name].train, NAMED[name].test) if source]
        for folder in folders:
            if all((folder / name / file).exists() for file in files):
                return str(folder)
        pytest.skip(f"{name} is neither under {ENVIRONMENT} nor in shared/data beside the project")

    return folder_of

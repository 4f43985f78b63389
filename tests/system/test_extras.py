"""Libraries that only some of the work needs."""

import sys

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.system import extras


def test_a_module_is_loaded():
    assert extras.import_extra("json.decoder").JSONDecoder


def test_a_missing_library_is_told_with_the_command_that_installs_it():
    with pytest.raises(InputError, match=r"nowhere_to_be: found no such library, .* `pip install nowhere"):
        extras.import_extra("nowhere_to_be.parts")


def test_what_a_library_itself_lacks_is_no_mistake_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "lame.py").write_text("import nowhere_to_be\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be"):
        extras.import_extra("lame")
    sys.modules.pop("lame", None)

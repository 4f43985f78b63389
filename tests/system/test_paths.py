"""Paths are there, are not, or are refused."""

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.system import paths


def test_what_is_there_exists(tmp_path):
    (tmp_path / "file").write_text("")
    assert paths.exists(tmp_path / "file", "--flag")
    assert not paths.exists(tmp_path / "none", "--flag")
    assert not paths.exists(tmp_path / "file" / "below", "--flag")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused_by_where_it_stands(tmp_path, name):
    with pytest.raises(InputError, match=r"^--flag: found a path that cannot be used \("):
        paths.exists(tmp_path / name, "--flag")

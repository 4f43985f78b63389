"""Work folders by themselves: what is told where a file cannot be written."""

import pytest

from lgcn_jax.errors import WriteError
from lgcn_jax.runs.workdir import RunFolder


def test_an_error_names_the_folder_and_the_file(small, tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(WriteError) as caught:
        RunFolder(tmp_path, small, {})
    assert str(caught.value) == f"--workdir={tmp_path} could not be written: Is a directory (config.json)"

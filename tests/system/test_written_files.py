"""Files that are written whole, and what a user is told where they cannot be."""

import pytest

from lgcn_jax.system import files


def test_an_error_names_the_file_that_was_to_be_written(tmp_path):
    (tmp_path / "items.arrow").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write(tmp_path / "items.arrow", b"ids")
    assert files.describe_os_error(caught.value) == "Is a directory (items.arrow)"
    assert list(tmp_path.iterdir()) == [tmp_path / "items.arrow"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/runs/.result.json.tmp"), "Permission denied (result.json)"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(9, "Bad file descriptor", 7), "Bad file descriptor"),
        (OSError("without a number"), "without a number"),
    ],
)
def test_an_error_without_a_file_is_told_alone(error, told):
    assert files.describe_os_error(error) == told

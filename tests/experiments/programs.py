"""Programs of experiments that are called in this process."""

import pytest


def call(program, *arguments) -> None:
    """Runs a program with flags of its own."""
    for name in program.FLAGS:
        program.FLAGS[name].unparse()
    program.main(["program", *map(str, arguments)])


def refusal(capsys, program, *arguments) -> str:
    """The one line in which a program refuses its arguments."""
    with pytest.raises(SystemExit) as stopped:
        call(program, *arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err

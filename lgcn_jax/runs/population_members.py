"""The members that a population is stated to have: a range of seeds, a JSON file, or values of Python."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lgcn_jax.errors import InputError
from lgcn_jax.training.members import FLAG

EXPECTED = "seeds:0-9, seeds:1,5,9, or a JSON file of a list of members or of an object of lists"
MOST = 100_000  # members that are listed; more are a slip, and would take all memory


def parse_members(stated: Any) -> list[dict[str, Any]]:
    """The members' own settings.

    >>> parse_members("seeds:1,5-6")
    [{'seed': 1}, {'seed': 5}, {'seed': 6}]
    >>> parse_members({"margin": [0.0, 0.1], "seed": [1, 2]})[1]
    {'margin': 0.0, 'seed': 2}

    Args:
      stated: 'seeds:0-9', 'seeds:1,5,9'; the path of a JSON file; a sequence of mappings, one for each member; or a
        mapping of lists, whose product is meant, the last one varying fastest.

    Raises:
      InputError: it is none of these.
    """
    if isinstance(stated, str) and stated.startswith("seeds:"):
        return [{"seed": seed} for seed in _parse_seeds(stated)]
    if isinstance(stated, str | Path):
        return _members_of_values(_read_json(Path(stated).expanduser()), f"{FLAG}={stated}")
    return _members_of_values(stated, FLAG)


def _parse_seeds(stated: str) -> list[int]:
    """The numbers of 'seeds:1,5-9'."""
    seeds: list[int] = []
    for part in stated.removeprefix("seeds:").split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(FLAG, repr(stated), "seeds:FIRST-LAST or seeds:A,B,...")
        _require_few(len(seeds) + last - first + 1)
        seeds += range(first, last + 1)
    return seeds


def _read_json(path: Path) -> Any:
    where = f"{FLAG}={path}"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(where, "no such file", EXPECTED) from None
    except OSError as error:
        raise InputError(where, f"a file that cannot be read ({error.strerror})", EXPECTED) from None
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"a file that is no JSON ({error})", EXPECTED) from None


def _members_of_values(values: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(values, Mapping):
        return _grid_product(values, where)
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise InputError(where, f"a {type(values).__name__}", EXPECTED)
    for number, member in enumerate(values):
        if not isinstance(member, Mapping):
            raise InputError(f"{where}, member {number}", repr(member), "settings by name")
        if not member and len(values) > 1:
            raise InputError(f"{where}, member {number}", "no setting", "at least one of its own")
    return [dict(member) for member in values]


def _grid_product(values: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Every combination of a value of each list."""
    count = 1
    for name, each in values.items():
        if not isinstance(each, Sequence) or isinstance(each, str | bytes):
            raise InputError(f"{where}: {name}", repr(each), "a list of values")
        count *= len(each)
    _require_few(count)
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())] if values else []


def _require_few(count: int) -> None:
    if count > MOST:
        raise InputError(FLAG, f"{count:,} members", f"at most {MOST:,}")

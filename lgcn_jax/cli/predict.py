"""`predict`: the scores of pairs of a user and an item."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from lgcn_jax.cli import models
from lgcn_jax.cli.command import Command, named_as_flags, say
from lgcn_jax.cli.listing import format_columns, terminal_width
from lgcn_jax.cli.recommend import OUT, require_writable
from lgcn_jax.config import RELOCATABLE
from lgcn_jax.errors import InputError
from lgcn_jax.runs import raw_ids
from lgcn_jax.serving import tables
from lgcn_jax.system.signals import StopRequest

HEADING = ("user", "item")
EXPECTED = "a text file with a user and an item on each line, between them a comma or a tab"


def predict(values: flags.FlagValues, request: StopRequest) -> int:
    """Writes or prints the score of each pair in a file."""
    del request
    path = values["pairs_file"].value
    if not path:
        raise InputError("--pairs_file", "nothing", EXPECTED)
    require_writable(values)
    rows = parse_pairs(models.read_text(path, "--pairs_file", EXPECTED), path)
    model = models.load_model(values)
    users, items = (
        models.parse_placed_ids([(f"{path}:{number}", row[column]) for number, row in rows], known)
        for column, known in enumerate((model.users, model.items))
    )
    with named_as_flags(users=path, items=path):
        scores = model.predict(users, items)
    columns = {"user": users, "item": items, "score": scores}
    if values["out"].value:
        import pyarrow

        table = pyarrow.table({name: raw_ids.arrow_column(column) for name, column in columns.items()})
        tables.write_table(table, Path(values["out"].value))
        say(f"wrote {len(scores):,} rows to {values['out'].value}")
    else:
        say(format_columns(columns, terminal_width()))
    return 0


def parse_pairs(text: str, path: str) -> list[tuple[int, Sequence[str]]]:
    """The number of each line and its two ids; a heading `user,item` is none, and may have them among other columns.

    Raises:
      InputError: a line has another number of columns than two, or than the heading.
    """
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}", str(error), EXPECTED) from None
    width, places = 2, [0, 1]
    if rows and set(HEADING) <= set(rows[0][1]):
        width, places = len(rows[0][1]), [rows[0][1].index(name) for name in HEADING]
        del rows[0]
    for number, row in rows:
        if len(row) != width:
            raise InputError(f"{path}:{number}", f"{len(row)} columns", f"{width}; {EXPECTED}")
    if not rows:
        raise InputError(f"--pairs_file={path}", "no pair", EXPECTED)
    return [(number, [row[place] for place in places]) for number, row in rows]


COMMAND = Command(
    predict,
    "the scores of pairs of a user and an item",
    lambda: RELOCATABLE,
    {
        **models.OWN,
        "pairs_file": ("", f"{EXPECTED}; the heading user,item may be there"),
        **OUT,
    },
    texts=models.TEXTS,
)

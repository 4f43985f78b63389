"""One table of all models, of run folders and solved models, or of the facts of these that are committed.

    python experiments/leaderboard.py runs/gowalla-ssm-2020 runs/gowalla-ssm-2021 runs/gowalla-gf-cf --out=table
    python experiments/leaderboard.py --collect runs/gowalla-gf-cf     # a file of facts in experiments/leaderboard
    python experiments/leaderboard.py                                   # the table of all facts that are there
    python experiments/leaderboard.py --write=README.md --figure=docs/leaderboard.svg   # into marked places of pages

Runs of one configuration and several seeds are one row. Printed is Markdown; --out gets leaderboard.md,
leaderboard.json (the rows with all that is known) and leaderboard.svg, recall@20 against the seconds of the command.
Runs that have not ended, that were not evaluated on the test part, or that are of other data of the same name are
refused, each in one line, with exit status 2. What `cold_start.py` has found of a run is read from beside it.
"""

import json
import re
import sys
from pathlib import Path

import leaderboard_facts
import leaderboard_folders
import leaderboard_rows
import leaderboard_tables
from absl import flags
from leaderboard_facts import Row

from lgcn_jax.errors import InputError
from lgcn_jax.system import files

HERE = Path(__file__).parent
FACTS = HERE / "leaderboard"
MARKED = re.compile(r"(<!-- leaderboard: (\w+) -->\n).*?(?=<!-- end of leaderboard -->)", re.DOTALL)

FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()
flags.DEFINE_string("out", "", "folder that gets the table as Markdown and JSON, and the figure", flag_values=FLAGS)
flags.DEFINE_bool("collect", False, "write a file of facts for each row", flag_values=FLAGS)
flags.DEFINE_string("facts", str(FACTS), "folder of the files of facts", flag_values=FLAGS)
flags.DEFINE_string("name", "", "of the file of --collect (default: that of the folder)", flag_values=FLAGS)
flags.DEFINE_string("label", "", "what the table calls the row of --collect", flag_values=FLAGS)
flags.DEFINE_list("after", [], "runs that the row of --collect is made of: their time is added", flag_values=FLAGS)
flags.DEFINE_string("note", "", "a sentence below the table about the row of --collect", flag_values=FLAGS)
flags.DEFINE_string("figure", "", "a file, .svg or .png, that gets the figure", flag_values=FLAGS)
flags.DEFINE_list("write", [], "pages whose marked places get the tables", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    try:
        stated = FLAGS(arguments)[1:]
        rows = rows_of([Path(argument) for argument in stated])
        if FLAGS.collect:
            return collect(rows)
        print_and_write(rows)
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def rows_of(paths: list[Path]) -> list[Row]:
    """The rows of these paths, or of all facts; ends the program with a line for each problem."""
    rows, problems = leaderboard_rows.read(paths or sorted(Path(FLAGS.facts).glob("*.json")))
    if problems:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        sys.exit(2)
    if not rows:
        raise InputError("leaderboard", "no run and no facts", "the folder of at least one")
    return rows


def collect(rows: list[Row]) -> None:
    """Writes a file of facts for each row."""
    if len(rows) > 1 and (FLAGS.name or FLAGS.label):
        named = ", ".join(row.name for row in rows)
        raise InputError("--name and --label", f"the rows {named}", "the runs of one configuration")
    Path(FLAGS.facts).mkdir(parents=True, exist_ok=True)
    for row in rows:
        row.label, row.note = FLAGS.label or row.label, FLAGS.note or row.note
        for part in map(Path, FLAGS.after):
            leaderboard_rows.add_time(row, leaderboard_folders.of_folder(part, groups=False))
        path = Path(FLAGS.facts) / f"{FLAGS.name or row.name}.json"
        files.write(path, leaderboard_facts.written(row).encode())
        print(f"wrote {path}")


def print_and_write(rows: list[Row]) -> None:
    """Prints the tables, and writes what --out and --write ask for."""
    if FLAGS.figure and Path(FLAGS.figure).suffix not in (".svg", ".png"):
        raise InputError("--figure", repr(FLAGS.figure), "a file whose name ends in .svg or .png")
    made = tables(rows)
    text = "\n\n".join(made.values())
    print(text)
    if FLAGS.out:
        folder = Path(FLAGS.out)
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / "leaderboard.md", f"{text}\n".encode())
        facts = {row.name: json.loads(leaderboard_facts.written(row)) for row in rows}
        files.write(folder / "leaderboard.json", (json.dumps(facts, indent=1) + "\n").encode())
        draw(rows, folder / "leaderboard.svg")
    if FLAGS.figure:
        draw(rows, Path(FLAGS.figure))
    for page in map(Path, FLAGS.write):
        files.write(page, filled(page.read_text(encoding="utf-8"), made, page).encode())


def draw(rows: list[Row], path: Path) -> None:
    """Writes the figure."""
    import leaderboard_figure  # when a picture is due: its library takes a second

    leaderboard_figure.write(rows, published(), path)


def tables(rows: list[Row]) -> dict[str, str]:
    """The tables by the names of their places in pages."""
    others = published()
    return {
        "results": leaderboard_tables.results(rows, others),
        "groups": leaderboard_tables.groups(rows),
        "published": leaderboard_tables.of_others(others),
    }


def filled(text: str, made: dict[str, str], page: Path) -> str:
    """The text of a page with the tables between `<!-- leaderboard: NAME -->` and `<!-- end of leaderboard -->`."""
    names = [match[2] for match in MARKED.finditer(text)]
    if not names or not set(names) <= made.keys():
        expected = f"<!-- leaderboard: NAME --> and <!-- end of leaderboard -->, NAME one of {', '.join(made)}"
        raise InputError(page, f"marks of {', '.join(names)}" if names else "no marked place", expected)
    return MARKED.sub(lambda match: f"{match[1]}{made[match[2]]}\n", text)


def published() -> dict:
    """What others have published."""
    return json.loads((HERE / "reference" / "published_results.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv)

"""Which data set a run is of, how it is read, and how it is split."""

import codecs
import dataclasses

from lgcn_jax.settings import Settings, choice, integer, real, setting

FORMATS = ("auto", "adjacency", "counts", "pairs", "jsonl", "parquet", "arrow")
SPLITS = ("random", "leave_last_out", "temporal", "column", "none")
DELIMITERS = {"auto": "", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|", "colons": "::"}


# Where data lie and how they are read; the same data may lie elsewhere in another form.
READING = (
    *("dataset", "data_dir", "format", "delimiter", "header", "encoding", "user_col", "item_col", "rating_col"),
    *("time_col", "label_col", "weight_col", "split_col"),
    *("item_table", "item_title_col", "user_table", "user_title_col"),
)


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def _column_setting(what: str, more: str = "") -> str:
    return setting("", f"column of the {what}, by name or by position from 1{more}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """A data set by name or path, how it is read, its splits, and the size of the synthetic one."""

    dataset: str = setting(
        "", "a data set by name, a file of events (several, separated by commas), or a folder with a file for each part"
    )
    data_dir: str = setting("data", "folder in which named data sets are looked for, and put when fetched")
    format: str = choice("auto", FORMATS, "how files named by a path are read; pairs: tables of text")
    delimiter: str = setting(
        "auto",
        f"what separates the columns of a table of text, as such or by name: {', '.join(DELIMITERS)}",
        lambda v: v in (*DELIMITERS, *DELIMITERS.values()) and v != "",
        f"one of {', '.join(DELIMITERS)}",
    )
    header: str = choice("auto", ("auto", "yes", "no"), "whether the first line of a table of text names its columns")
    encoding: str = setting(
        "utf-8", "encoding of text files, by Python's name", _is_encoding, "an encoding, such as latin-1"
    )
    user_col: str = _column_setting("users", " (default: by its usual names, else the first)")
    item_col: str = _column_setting("items", " (default: by its usual names, else the second)")
    rating_col: str = _column_setting("ratings", ", for --min_rating")
    time_col: str = _column_setting("times", ", for --split=temporal and leave_last_out")
    label_col: str = _column_setting("labels", ": rows with 0 are no positives")
    weight_col: str = _column_setting("weights", ", which the graph's edges get")
    split_col: str = _column_setting("parts", ", for --split=column: train, valid or test")
    min_rating: float | None = setting(
        None, "least rating of a positive; rows below are left out", lambda v: v is None or abs(v) < 1e38, "a number"
    )
    repeats: str = choice(
        "merge", ("merge", "count"), "events of one pair: one with the last's weight, or weights added"
    )
    min_user_interactions: int = integer(0, "least items of a user, iterated with that of items (k-core)", least=0)
    min_item_interactions: int = integer(0, "least users of an item, iterated with that of users (k-core)", least=0)
    strict: bool = setting(False, "refuse rows without a user or item, in place of leaving them out")
    split: str = choice("random", SPLITS, "how a test part is split off, where a data set is one table")
    test_fraction: float = real(
        0.2,
        "share of each user's items (temporal: of all pairs) that is the test part, where a data set is one table",
        lambda v: 0 < v < 1,
        "a number between 0 and 1",
    )
    min_test_items: int = integer(
        1, "least number of a user's test items, as long as a train item is left; of --split=random", least=0
    )
    validation_fraction: float = real(
        0.0,
        "share of the train part that is held out for validation, by --split; leave_last_out: any, the last but one",
        lambda v: 0 <= v < 1,
        "a number from 0 to below 1",
    )
    data_seed: int = integer(0, "seed of splits and of the synthetic data set", least=0)
    item_table: str = setting("", "a table of the items, whose titles are shown beside their ids")
    item_title_col: str = _column_setting("titles", " of --item_table")
    user_table: str = setting("", "a table of the users, whose titles are shown beside their ids")
    user_title_col: str = _column_setting("titles", " of --user_table")
    num_users: int = integer(10_000, "users of the synthetic data set", least=2)
    num_items: int = integer(5_000, "items of the synthetic data set", least=2)
    num_interactions: int = integer(200_000, "interactions of the synthetic data set", least=2)

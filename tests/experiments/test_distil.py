"""Bad input of `distil.py` ends in one line before anything is computed."""

import distil
import jax
import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.errors import InputError


@pytest.fixture(autouse=True)
def unstated():
    """The flags of each call are its own."""
    for name in distil.FLAGS:
        distil.FLAGS[name].unparse()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Events of 30 users, and a model with vectors of 4 numbers that was trained on them."""
    folder, random = tmp_path_factory.mktemp("distil"), np.random.default_rng(0)
    pairs = np.unique(random.integers(0, (30, 25), (300, 2)), axis=0)
    (folder / "events.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    data = lg.read(folder / "events.csv")
    lg.LightGCN(num_layers=1, embedding_dim=4, epochs=1, top_k=(5,)).fit(data, quiet=True).save(folder / "model")
    (folder / "taken").mkdir()
    (folder / "taken" / "mine").write_text("mine")
    (folder / "other.csv").write_text("user,item\n" + "".join(f"{user},{item + user}\n" for user, item in pairs))
    return folder


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        (("--width=8",), "--teacher: found '', expected the folder of a run or of a saved model, or one of "),
        (("--teacher=nowhere", "--width=8"), "--teacher: found 'nowhere', expected the folder of a run or of a "),
        (("--teacher=FOLDER/taken", "--width=8"), "FOLDER/taken: found "),
        (("--teacher=popularity", "--width=26"), "--width: found 26, expected at most 25, the items of events"),
        (
            ("--teacher=popularity", "--start=popularity", "--width=8"),
            "--start: found a model without vectors, expected one with",
        ),
        (("--teacher=popularity", "--start=FOLDER/model", "--width=8"), "--start: found a model with vectors of 4 num"),
        (("--teacher=popularity", "--width=0"), "--width=0"),
        (("--teacher=popularity", "--passes=x"), "--passes=x"),
        (("--teacher=popularity", "--temperature=0"), "--temperature=0"),
        (("--teacher=popularity", "--wide=3"), "Unknown command line flag 'wide'"),
        (("popularity",), "distil: found the argument 'popularity', expected flags alone"),
        (("--teacher=popularity", "--out=FOLDER/taken"), "--out=FOLDER/taken: found something that is no export"),
        (("--teacher=popularity", "--validation_fraction=2"), "validation_fraction: found 2.0, expected "),
        (("--teacher=popularity", "--dataset=FOLDER/none.csv"), "--dataset: found 'FOLDER/none.csv', expected "),
        (("--teacher=FOLDER/model", "--dataset=FOLDER/other.csv", "--width=8"), "interactions: found 30 users and"),
    ],
)
def test_bad_input_ends_in_one_line(folder, stated, line, capsys):
    flags = [flag.replace("FOLDER", str(folder)) for flag in (f"--dataset={folder / 'events.csv'}", *stated)]
    with pytest.raises(SystemExit) as stopped:
        distil.main(["distil.py", *flags])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert line.replace("FOLDER", str(folder)) in err
    assert (err.count("\n"), out) == (1, "")


def test_data_without_a_test_part_or_an_unseen_item_are_refused():
    distil.FLAGS(["distil.py", "--width=2"])
    with pytest.raises(InputError, match=r"--dataset: found .*, which has no test part, expected"):
        distil.require_fitting(lg.read(([1, 1, 2], [4, 5, 4]), split="none"))
    with pytest.raises(InputError, match=r"--dataset: found a user of .* who has all items, expected"):
        distil.require_fitting(lg.read(([1, 1, 2], [4, 5, 4]), test=([2], [5])))


def test_a_start_as_wide_as_the_students_is_taken(folder, capsys):
    flags = [f"--dataset={folder / 'events.csv'}", "--teacher=popularity", f"--start={folder / 'model'}", "--width=4"]
    with jax.numpy_dtype_promotion("standard"):  # as outside of tests
        distil.main(["distil.py", *flags, "--passes=1", "--listed=40", "--epochs=1", f"--out={folder / 'vectors'}"])
    assert capsys.readouterr().out.count("\n") == 6
    with np.load(folder / "vectors" / "vectors.npz") as file:
        assert file["item_embeddings"].shape[1] == 4

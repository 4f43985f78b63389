"""The command line as a user meets it: what it prints, what it writes, and how it refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
import types

import matplotlib.image
import pytest

from lgcn_jax import version
from lgcn_jax.cli import checks, main
from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError
from lgcn_jax.graph import bucket, propagation
from lgcn_jax.runs import display, run, workdir
from lgcn_jax.training import loop

WORLD = ["--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000"]
VAST = ["--dataset=synthetic", *(f"--num_{name}={2**31 - 1}" for name in ("users", "items", "interactions"))]
MODEL = ["--num_layers=2", "--embedding_dim=8", "--batch_size=256"]


def trained(workdir, *more):
    """The exit status of a short run."""
    arguments = ["train", *WORLD, *MODEL, "--epochs=4", "--eval_every=2", "--top_k=5,20", f"--workdir={workdir}"]
    return main.main([*arguments, *more])


def refused(capsys, *arguments) -> str:
    """The one line with which the command line refuses; asserts that it is one, on stderr, with status 2."""
    status = main.main(arguments)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err


@pytest.mark.drawn
def test_train_fills_the_run_folder(tmp_path, capsys):
    assert trained(tmp_path / "run") == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json",
        "environment.json",
        "ids",
        "metrics.jsonl",
        "checkpoints",
        "result.json",
        "tensorboard",
        "curves.png",
    }
    assert matplotlib.image.imread(tmp_path / "run" / "curves.png").std() > 0.05
    out = capsys.readouterr().out
    assert "popularity" in out
    assert str(tmp_path / "run" / "curves.png") in out


def test_metrics_hold_a_line_for_every_epoch_and_evaluation(tmp_path):
    trained(tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["split"]) for row in rows] == [
        (1, "train"),
        (2, "train"),
        (2, "test"),
        (3, "train"),
        (4, "train"),
        (4, "test"),
    ]
    terms = ["loss", "loss_ranking", "loss_contrastive", "loss_l2", "grad_norm", "learning_rate", "seconds"]
    assert list(rows[0]) == ["epoch", "split", *terms]
    metrics = ["precision@5", "recall@5", "ndcg@5", "precision@20", "recall@20", "ndcg@20"]
    assert list(rows[2]) == ["epoch", "split", *metrics, "seconds"]
    # The enhanced loss's terms add up: 0.8 ranking + 0.2 contrastive + 1e-4 l2.
    total = 0.8 * rows[0]["loss_ranking"] + 0.2 * rows[0]["loss_contrastive"] + 1e-4 * rows[0]["loss_l2"]
    assert rows[0]["loss"] == pytest.approx(total, rel=1e-5)


def test_result_names_best_last_and_the_hash_of_the_tables(tmp_path):
    trained(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["epochs"] == 4
    assert result["best"]["split"] == "test"
    assert result["last"]["epoch"] == 4
    assert len(result["parameters_sha256"]) == 64
    assert result["config"]["margin"] == 0.05
    assert result["environment"]["dataset"]["users"] == 300


def test_a_run_that_watches_valid_needs_no_test_part(tmp_path):
    """Every test pair is in train, and so none is left to be scored at the end."""
    train = "".join(f"{user} {user % 7} {user % 5 + 7}\n" for user in range(20))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.txt").write_text(train)
    (tmp_path / "set" / "test.txt").write_text(train)
    (tmp_path / "set" / "valid.txt").write_text("".join(f"{user} {(user + 1) % 7} 12\n" for user in range(20)))
    run = [f"--dataset={tmp_path / 'set'}", "--format=adjacency", f"--workdir={tmp_path / 'run'}", "--eval_split=valid"]
    assert main.main(["train", *run, *MODEL, "--epochs=2", "--eval_every=1", "--top_k=5"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["best"]["split"] == "valid"
    assert "test" not in result


def test_data_describes_the_set(capsys):
    assert main.main(["data", *WORLD]) == 0
    out = capsys.readouterr().out
    assert "content sha256" in out
    assert "test interactions" in out


def test_quiet_shows_the_final_table_alone(tmp_path, capsys):
    assert trained(tmp_path / "run", "--quiet") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [re.split(r"  +|: ", line)[0] for line in out.splitlines()] == [
        *("synthetic, test part", "popularity", "epoch 4 (best)", "epoch 4 (last)"),
        f"wrote {tmp_path / 'run' / 'result.json'} and {tmp_path / 'run' / 'curves.png'}",
    ]


def test_plain_lines_tell_loss_metric_and_time_left(tmp_path, capsys, monkeypatch):
    """By a clock of ours: an hour of compilation, 10 s for each epoch, which is one block, 5 s for an evaluation."""
    now = 0.0

    def after(seconds, function):
        def call(*arguments):
            nonlocal now
            now += seconds
            return function(*arguments)

        return call

    monkeypatch.setattr(display, "time", types.SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(loop, "FIRST_BLOCK", 10**6)
    monkeypatch.setattr(loop.Programs, "compile", after(3600, loop.Programs.compile))
    monkeypatch.setattr(loop, "evaluate_epoch", after(5, loop.evaluate_epoch))
    monkeypatch.setattr(run.Recorder, "progress", after(10, run.Recorder.progress))
    assert trained(tmp_path / "run") == 0
    out, err = capsys.readouterr()
    headline, noticed, *_ = out.splitlines()
    assert headline.startswith("synthetic: 300 users, 200 items, ")
    assert re.fullmatch(r"\d+ of 300 users have an item in the test part and are evaluated", noticed)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    lines = []
    for epoch, left in ((2, "00:25"), (4, "00:00")):
        trained_on, evaluated = (row for row in rows if row["epoch"] == epoch)
        shown = f"loss {trained_on['loss']:.4f}, test recall@5 {evaluated['recall@5']:.4f}"
        lines.append(f"epoch {epoch}/4  {shown}, {left} left")
    assert err.splitlines() == lines


def test_flagfile_states_flags(tmp_path, capsys):
    recipe = tmp_path / "world.flags"
    recipe.write_text("# a comment\n" + "\n".join(WORLD))
    assert main.main(["data", f"--flagfile={recipe}"]) == 0
    assert "300" in capsys.readouterr().out


@pytest.mark.parametrize("lines", ["--undefok=epoch", "--undefok\nepoch", "-undefok=epoch", "--flagfile\nsecond.flags"])
def test_misspelt_flags_pass_nowhere(lines, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outer.flags").write_text("--flagfile=first.flags\n")
    (tmp_path / "first.flags").write_text(f"{lines}\n--epoch=3\n")
    (tmp_path / "second.flags").write_text("--undefok=epoch\n")
    for stated in ("--flagfile=first.flags", "--flagfile=outer.flags"):
        assert re.match("--(undefok|flagfile): found", refused(capsys, "train", *WORLD, "--workdir=run", stated))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["command", "nothing", "train"]),
        (["trian"], ["trian", "did you mean train?"]),
        (["train", "--epoch=3"], ["--epoch", "unknown flag", "--epochs"]),
        (["train", "--epochs=many"], ["--epochs: found 'many', expected an integer"]),
        (["train", "--learning_rate=fast"], ["--learning_rate: found 'fast', expected a number"]),
        (["train", "--alpha=1.5"], ["--alpha", "1.5", "0 to 1"]),
        (["train", "--temperature=0"], ["--temperature", "0", "above 0"]),
        (["train", "--num_layers=-1"], ["--num_layers", "-1", "from 0"]),
        (["train", "--batch_size=0"], ["--batch_size", "0", "from 1"]),
        (["train", "--loss=hinge"], ["--loss", "hinge", "bpr"]),
        (["train", "--model=eas"], ["--model: found 'eas', expected one of lightgcn, mf", "ease", "mixture"]),
        (["train", "--loss=bpr", "--alpha=0.5"], ["--alpha", "0.5", "nothing with --loss=bpr, which has none"]),
        (["train", "stray"], ["stray", "--flag=value"]),
        (["train", "--dataset=gowala"], ["--dataset", "gowala", "gowalla"]),
        (["train", "--workdir=run", "--epochs"], ["--epochs: found no value"]),
        (["train", "--quiet=maybe"], ["--quiet: found 'maybe', expected true or false"]),
        (["train", "--noquiet=3"], ["--noquiet=3 does not take an argument"]),
        (["train", "--flagfile=missing.flags"], ["--flagfile=missing.flags: found a file that cannot be read (No "]),
        (["train", "--flagfile=."], ["--flagfile=.: found a file that cannot be read (Is a directory)"]),
        (["train", "--workdir=run", "--flagfile"], ["--flagfile with no argument"]),
        (["evaluate"], ["--workdir", "--model"]),
        (["evaluate", "--model=magic", *WORLD], ["--model", "magic", "popularity"]),
        (["evaluate", "--workdir=nowhere"], ["nowhere", "no run"]),
        (["evaluate", "--workdir=nowhere", "--num_users=7"], ["--num_users", "beside --workdir"]),
        (["evaluate", "--model=popularity", *WORLD, "--eval_split=valid"], ["--eval_split", "valid", "empty"]),
        (["data", "--dataset=gowalla", "--num_users=7"], ["--num_users", "without effect", "--dataset=synthetic"]),
        (["data", "--dataset=gowalla", "--test_fraction=0.3"], ["--test_fraction", "without effect"]),
        (["data", "--dataset=gowalla", "--data_seed=1"], ["--data_seed", "--validation_fraction"]),
        (["train", "--plateau_patience=3"], ["--plateau_patience", "without effect", "--plateau_factor below 1"]),
        (["train", *WORLD, "--plateau_metric=ndcg@20"], ["--plateau_metric", "without effect"]),
        (["evaluate", "--model=popularity", *WORLD, "--checkpoint=latest"], ["--checkpoint", "without effect"]),
        (["evaluate", "--model=popularity", *WORLD, "--propagation=bcoo"], ["--propagation", "--workdir"]),
        (["data", *WORLD, "--format=pairs"], ["--format", "without effect", "a path"]),
        (["data", *VAST], ["--num_interactions", "GB"]),
        (["train", "--layer_weights="], ["layer_weights", "numbers, separated by commas"]),
        (["train", "--init_std=1e-60"], ["--init_std", "float32"]),
        (["train", "--undefok=epoch", "--epoch=3"], ["--undefok", "unknown flag"]),
        (["train", "--workdir=run\udcff"], ["run", "UTF-8"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(arguments, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if arguments[:1] == ["train"] and "--workdir" not in str(arguments):
        arguments = [*arguments, "--workdir=run"]
    line = refused(capsys, *arguments)
    for part in parts:
        assert part in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", *WORLD, "--workdir="],
        ["train", *WORLD, "--overwrite", "--workdir="],
        ["train", *WORLD, "--workdir=made/first/"],
        ["evaluate", "--workdir="],
        ["data", "--dataset=gowalla", "--data_dir="],
        ["data", "--dataset=gowalla", "--data_dir=made/first/"],
        ["data", "--dataset="],
    ],
)
def test_a_path_longer_than_any_file_has_is_refused_in_one_line(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LGCN_JAX_DATA", raising=False)
    *others, last = arguments
    assert "a" * 300 in refused(capsys, *others, last + "a" * 300)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_environment_that_no_file_can_be_in_is_refused_by_name(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LGCN_JAX_DATA", "a" * 300)
    line = refused(capsys, "data", "--dataset=gowalla", f"--data_dir={tmp_path}")
    assert line.startswith("LGCN_JAX_DATA=aaa")
    assert "File name too long" in line


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    "foreign",
    [["config.json"], ["result.json", "metrics.jsonl"], ["config.json", "environment.json"], ["checkpoints/7/meta"]],
)
def test_train_leaves_a_folder_alone_that_holds_no_run(foreign, overwrite, tmp_path, capsys):
    """Other programs, too, write files of these names."""
    kept = [tmp_path / "run" / name for name in foreign]
    kept[0].parent.mkdir(parents=True)
    for path in kept:
        path.write_text('{"architectures": ["BertModel"]}')
    line = refused(capsys, "train", *WORLD, *MODEL, f"--workdir={tmp_path / 'run'}", *overwrite)
    assert foreign[0].partition("/")[0] in line
    assert "neither settings, environment nor checkpoint of a run" in line
    assert all("Bert" in path.read_text() for path in kept)


def test_any_sign_of_a_run_lets_it_be_overwritten(tmp_path):
    trained(tmp_path / "whole", "--epochs=1")
    for damaged in ([], ["config.json"], ["config.json", "environment.json"], ["config.json", "checkpoints"]):
        run = shutil.copytree(tmp_path / "whole", tmp_path / "run")
        for path in (run / name for name in damaged):
            shutil.rmtree(path) if path.is_dir() else path.write_text("[]")
        workdir.clear_run(run)
        assert list(run.iterdir()) == []
        run.rmdir()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("name", [*workdir.FILES, *workdir.FOLDERS])
def test_a_name_of_the_run_folder_that_is_taken_is_refused(name, overwrite, tmp_path, capsys):
    taken = tmp_path / "run" / name
    taken.parent.mkdir()
    taken.mkdir() if name in workdir.FILES else taken.write_text("mine")
    line = refused(capsys, "train", *WORLD, *MODEL, f"--workdir={tmp_path / 'run'}", *overwrite)
    assert line.startswith(f"{taken}: found what is no ")
    assert list(taken.parent.iterdir()) == [taken]


def test_k_above_the_number_of_items_is_refused_before_anything_is_written(tmp_path, capsys):
    line = refused(capsys, "train", *WORLD, "--top_k=201", f"--workdir={tmp_path / 'run'}")
    assert "--top_k" in line
    assert "200" in line
    assert list(tmp_path.iterdir()) == []


def test_a_work_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = refused(capsys, "train", *WORLD, f"--workdir={tmp_path / 'file' / 'run'}")
    assert "--workdir" in line
    assert "cannot be written" in line


def test_a_changed_setting_is_refused_unless_the_run_is_begun_anew(tmp_path, capsys):
    trained(tmp_path / "run")
    capsys.readouterr()
    line = refused(capsys, "train", "--seed=3", "--margin=0.5", "--epochs=9", f"--workdir={tmp_path / 'run'}")
    assert "--margin=0.5, --seed=3" in line or "--seed=3, --margin=0.5" in line
    assert "--seed=2020" in line
    assert "--epochs" not in line
    assert trained(tmp_path / "run", "--overwrite", "--seed=3") == 0


def test_a_profile_lies_in_the_run_folder_until_the_run_is_begun_anew(tmp_path, capsys):
    assert trained(tmp_path / "run", "--profile") == 0
    plain = json.loads((tmp_path / "run" / "result.json").read_text())
    advice = f"traced 8 steps; look at them with `xprof --logdir={tmp_path / 'run' / 'profile'}`"
    assert advice in capsys.readouterr().out
    assert "profile" not in plain["config"]
    assert trained(tmp_path / "run", "--overwrite") == 0
    assert not (tmp_path / "run" / "profile").exists()
    again = json.loads((tmp_path / "run" / "result.json").read_text())
    assert again["parameters_sha256"] == plain["parameters_sha256"]


def test_a_cache_that_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command in (["train", *WORLD, f"--workdir={tmp_path / 'run'}"], ["evaluate", f"--workdir={tmp_path / 'run'}"]):
        assert "--compilation_cache" in refused(capsys, *command, f"--compilation_cache={tmp_path / 'file'}")
    assert not (tmp_path / "run").exists()


def test_other_data_than_trained_on_is_refused(tmp_path, capsys):
    events = tmp_path / "events.csv"
    rows = [f"{n % 20},{n // 10}\n" for n in range(400)]
    events.write_text("".join(rows))
    settings = [f"--dataset={events}", *MODEL, "--epochs=2", "--top_k=5", f"--workdir={tmp_path / 'run'}"]
    assert main.main(["train", *settings]) == 0
    events.write_text("".join(rows[:-30]))
    capsys.readouterr()
    assert "as trained on" in refused(capsys, "train", *settings, "--epochs=4")
    assert main.main(["evaluate", f"--workdir={tmp_path / 'run'}"]) == 2
    assert "as trained on" in capsys.readouterr().err


def test_data_that_were_moved_are_the_same_data(tmp_path, capsys, monkeypatch):
    """A relative path is kept absolute; of another place the content counts; a tilde is the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    events = tmp_path / "here" / "events.csv"
    events.parent.mkdir()
    events.write_text("".join(f"{n % 20},{n // 10}\n" for n in range(400)))
    assert main.main(["train", "--dataset=here/events.csv", *MODEL, "--epochs=1", "--top_k=5", "--workdir=~/run"]) == 0
    folder = tmp_path / "home" / "run"
    assert json.loads((folder / "config.json").read_text())["dataset"] == str(events)
    monkeypatch.chdir(tmp_path / "home")
    assert main.main(["evaluate", "--workdir=run"]) == 0
    events.parent.rename(tmp_path / "there")
    for command in (["evaluate"], ["train", "--epochs=2"]):
        assert main.main([*command, "--workdir=run", "--dataset=../there/events.csv"]) == 0
    assert "bits may differ" not in capsys.readouterr().err
    assert main.main(["evaluate", "--workdir=run"]) == 0  # where they lie now is known


def test_other_data_than_a_run_was_begun_on_are_refused_before_its_first_checkpoint(tmp_path, capsys):
    settings = [*MODEL, "--epochs=1", "--top_k=5", "--format=pairs", f"--workdir={tmp_path / 'run'}"]
    for name, count in (("one", 400), ("other", 370)):
        (tmp_path / name).write_text("".join(f"{n % 20} {n // 10}\n" for n in range(count)))
    assert main.main(["train", f"--dataset={tmp_path / 'one'}", *settings]) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    capsys.readouterr()
    assert "other data than the run's" in refused(capsys, "train", f"--dataset={tmp_path / 'other'}", *settings)


def test_a_checkpoint_that_does_not_exist_is_refused(tmp_path, capsys):
    assert "best, latest" in refused(capsys, "evaluate", f"--workdir={tmp_path}", "--checkpoint=newest")


def test_a_loss_that_is_no_number_fails_with_status_1(tmp_path, capsys):
    assert trained(tmp_path / "run", "--learning_rate=1e38", "--clip_norm=0") == 1
    assert "--learning_rate" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_that_diverges_without_a_nan_fails_with_status_1(tmp_path, capsys):
    assert trained(tmp_path / "run", "--loss=bpr", "--learning_rate=1e5", "--clip_norm=0") == 1
    assert re.search(r"the mean of loss_ranking is \d{7,}.* at epoch 1", capsys.readouterr().err.splitlines()[-1])
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"


def test_help_lists_commands_and_flags(capsys):
    assert main.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in main.COMMANDS)
    assert main.main(["train", "--help"]) == 0
    assert "--temperature" in capsys.readouterr().out


def test_the_module_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "lgcn_jax", "trian"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("output", ["full", "gone"])
@pytest.mark.parametrize("arguments", [["--help"], ["data", *WORLD]])
def test_output_that_nobody_takes_ends_in_one_line(arguments, output):
    if output == "full":
        taker = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, taker = os.pipe()
        os.close(reader)
    command = [sys.executable, "-m", "lgcn_jax", *arguments]
    done = subprocess.run(command, stdout=taker, stderr=subprocess.PIPE, text=True, check=False)
    os.close(taker)
    full = 1, "the output could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == {"full": full, "gone": (141, "")}[output]


def test_the_version_is_told(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lgcn_jax {version.__version__}\n"


def test_a_name_that_the_output_cannot_print_is_escaped(tmp_path):
    (tmp_path / "Bücher").write_text("".join(f"{n % 5} {n}\n" for n in range(20)))
    command = [sys.executable, "-m", "lgcn_jax", "data", f"--dataset={tmp_path / 'Bücher'}", "--format=pairs"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "B\\xfccher" in done.stdout


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("JAX_PLATFORMS", "cuda", "a platform that this machine has, or nothing"),
        ("JAX_PLATFORMS", "gpu", "a platform that this machine has, or nothing"),
        ("JAX_DISABLE_JIT", "1", "nothing: runs are compiled programs"),
    ],
)
def test_an_environment_in_which_nothing_can_be_computed_is_refused(variable, value, expected):
    command = [sys.executable, "-m", "lgcn_jax", "evaluate", "--model=popularity", *WORLD]
    done = subprocess.run(command, env=os.environ | {variable: value}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{variable}: found {value}")
    assert line.endswith(f"expected {expected}")


def test_a_download_has_a_bar_on_a_terminal_alone(monkeypatch, capsys):
    asked = []

    def load(config, progress):
        asked.append(progress)
        raise InputError("--dataset", "a test", "nothing more")

    monkeypatch.setattr(datasets, "load", load)
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        for command in ("data", "evaluate --model=popularity"):
            assert main.main([*command.split(), *WORLD]) == 2
    assert asked == [False, False, True, True]


def test_doctor_ends_with_status_1_where_a_check_fails(capsys, monkeypatch):
    found = {"first": lambda: (True, "fine"), "second": lambda: (False, "off by 1"), "third": lambda: (True, "fine")}
    monkeypatch.setattr(checks, "CHECKS", found)
    assert main.main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        *("ok      first: fine", "FAILED  second: off by 1", "ok      third: fine"),
    ]


def test_doctor_sees_a_layout_whose_product_is_wrong(monkeypatch):
    monkeypatch.setattr(propagation, "available_layouts", lambda: ["bcoo", "bucket"])
    assert checks.check_layouts()[0]
    product = bucket.BucketLayout.product
    monkeypatch.setattr(bucket.BucketLayout, "product", lambda self, x: 1.001 * product(self, x))
    passed, finding = checks.check_layouts()
    assert not passed
    assert finding.startswith("bcoo 0.0e+00, bucket ")


def test_doctor_sees_a_model_that_learns_nothing(monkeypatch):
    world = checks._WORLD.replace(epochs=1, learning_rate=1e-9)
    monkeypatch.setattr(checks, "_WORLD", world)
    passed, finding = checks.check_training()
    assert not passed
    assert "after 1 epochs" in finding


def test_doctor_finds_a_working_installation(capsys):
    assert main.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "jax" in out
    assert "FAILED" not in out
    assert out.count("ok ") == 3


def test_a_mistyped_flag_does_not_wait_for_what_only_runs_need():
    heavy = ("orbax", "tensorboardX", "scipy.stats", "matplotlib", "pandas")
    program = f"import sys; from lgcn_jax.cli import main; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"

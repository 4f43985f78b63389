"""The package as it is built and installed."""

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_every_folder_of_the_package_is_found():
    folders = {path.parent for path in (ROOT / "lgcn_jax").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)
    assert (ROOT / "lgcn_jax" / "py.typed").exists()


@pytest.mark.long
def test_an_installed_wheel_works_outside_the_checkout(tmp_path):
    """In an empty environment: `doctor`, and README's example in Python on a world that need not be fetched."""
    built = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert list(tmp_path.glob("*.tar.gz"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {"lgcn_jax/py.typed", "lgcn_jax/serving/models.py"} <= set(names)
    assets = {f"lgcn_jax/reporting/assets/report.{kind}" for kind in ("html.jinja", "css", "js")}
    assert assets <= set(names)
    assert not [name for name in names if name.startswith(("tests", "experiments"))]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    doctor = subprocess.run(
        [tmp_path / "venv" / "bin" / "lgcn-jax", "doctor"], cwd=tmp_path, capture_output=True, text=True
    )
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    (code,) = (
        block for block in re.findall(r"(?:^ {4}.*\n|^\n)+", README, re.MULTILINE) if "import lgcn_jax as lg" in block
    )
    code = re.sub("^ {4}", "", code, flags=re.MULTILINE)
    world = '"synthetic", num_users=300, num_items=200, num_interactions=6000'
    code = code.replace('"ml-100k", data_dir="data"', world).replace("epochs=50", "epochs=5")
    ran = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "synthetic: 300 users" in ran.stdout

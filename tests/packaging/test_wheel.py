"""The wheel, built from the source distribution, installed beside nothing of the checkout and run from another folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
FOREIGN = "SUITE = 'someone else'\n"


def _run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PARETO_DATA")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    _run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out
    )  # sdist, and the wheel from it
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the wheel; what it depends on is lent by the running environment."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", interpreter, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)  # fmt: skip
    paths = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
    # a plain folder on the path: .pth files in it, such as those of an editable install, are not read
    (_site(interpreter) / "lent.pth").write_text("\n".join(str(p) for p in paths if p) + "\n")
    return interpreter


def _site(interpreter: Path) -> Path:
    (site,) = (interpreter.parents[1] / "lib").glob("python3*/site-packages")
    return site


def test_the_wheel_holds_one_top_level_name_and_everything_that_belongs_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pareto"}
    assert len(tops) == 2
    assert not [name for name in names if name.endswith(".pyc")]
    assert {"pareto/py.typed", "pareto/envs/__init__.py"} <= set(names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    wanted = {
        (target / path.relative_to(ROOT / source)).as_posix()
        for source, target in (("pareto", Path("pareto")), ("envs", Path("pareto/envs")))
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted == {name for name in names if name.startswith("pareto/")}


LOOK = """
import json, sys
import gymnasium, pareto
from pareto.env_loader import load_envs
envs = load_envs()
ids = sorted(name for name in gymnasium.registry if name.startswith("pareto/"))
for name in ids:
    gymnasium.make(name, disable_env_checker=True).reset(seed=0)
both = "envs" in sys.modules and "pareto.envs" in sys.modules
print(json.dumps([pareto.__file__, envs.__name__, envs.__file__, ids, both, pareto.hypervolume([[1, 2], [2, 1]], [0, 0])]))
"""


def test_the_installed_package_works_from_another_folder(python, tmp_path):
    module, name, envs_file, ids, both, volume = json.loads(
        _run(python, "-c", LOOK, cwd=tmp_path).splitlines()[-1]
    )
    site = str(_site(python))
    assert module.startswith(site)
    assert envs_file.startswith(site)
    assert (name, both, volume) == ("pareto.envs", False, 3.0)
    assert ids
    command = python.parent / "pareto"
    assert "sweep a Pareto front" in _run(command, "--help", cwd=tmp_path)
    assert _run(command, "list", "envs", cwd=tmp_path).count("\n") == len(ids)


def test_another_distribution_called_envs_stays_whole_and_is_never_taken_for_ours(wheel, python, tmp_path):
    foreign = _site(python) / "envs" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text(FOREIGN)
    pip = [sys.executable, "-m", "pip", "--python", python]
    _run(*pip, "install", "-q", "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=tmp_path)
    assert hashlib.sha256(foreign.read_bytes()).digest() == hashlib.sha256(FOREIGN.encode()).digest()
    _, name, _, ids, both, _ = json.loads(_run(python, "-c", LOOK, cwd=tmp_path).splitlines()[-1])
    assert (name, both) == ("pareto.envs", False)
    assert ids
    _run(*pip, "uninstall", "-q", "-y", "pareto-align", cwd=tmp_path)
    assert foreign.read_text() == FOREIGN
    assert _run(python, "-c", "import envs; print(envs.SUITE)", cwd=tmp_path) == "someone else\n"


def test_in_a_checkout_a_foreign_envs_is_refused_by_name(tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text(FOREIGN)
    code = f"import sys; sys.path.append({str(ROOT)!r})\nfrom pareto.env_loader import load_envs\nload_envs()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"found another package at {tmp_path / 'envs' / '__init__.py'}" in done.stderr

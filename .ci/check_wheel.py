"""Installs a wheel where nothing of the source tree is in reach, and tries it there.

Run by the project's own environment, whose third-party packages the new one sees through a path
file. A folder named in a path file has its own path files ignored, so the editable install of the
project stays out of sight and only the wheel can answer `import erm_gym`.
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

IMPORT_EVERYTHING = """
import importlib, importlib.metadata, pkgutil, sys
from pathlib import Path

def fail(name):
    raise

import erm_gym
home = Path(sys.argv[1])
assert home in Path(erm_gym.__file__).parents, f"{erm_gym.__file__} is not in {home}"
names = [m.name for m in pkgutil.walk_packages(erm_gym.__path__, "erm_gym.", onerror=fail)]
names = [name for name in names if not name.endswith(".__main__")]
for name in names:
    file = importlib.import_module(name).__file__
    assert home in Path(file).parents, f"{name} comes from {file}"
for entry in importlib.metadata.distribution("erm-gym").entry_points:
    entry.load()
print(f"wheel: imported {len(names)} modules from {home}")
"""


def source_files() -> set[str]:
    """Every file of the packages, by the name that it must have in the wheel."""
    found = set()
    for folder, prefix in (("erm_gym", ""), ("agents", "erm_gym/"), ("envs", "erm_gym/")):
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT)
            linked = relative.parts[:2] in {("erm_gym", "agents"), ("erm_gym", "envs")}
            if path.is_file() and not linked and "__pycache__" not in relative.parts:
                found.add(prefix + relative.as_posix())
    return found


def check_contents(wheel: Path) -> None:
    """The wheel holds all files of the packages and nothing outside `erm_gym`."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    top_level = {PurePosixPath(name).parts[0] for name in files}
    strangers = {name for name in top_level if name != "erm_gym" and ".dist-info" not in name}
    if strangers:
        sys.exit(f"the wheel would put {sorted(strangers)} into site-packages")
    if missing := source_files() - files:
        sys.exit(f"the wheel lacks {sorted(missing)}: see package-data in pyproject.toml")


def check_imports(wheel: Path, home: Path) -> None:
    """Every module of the installed wheel imports, and its console scripts are there."""
    venv.create(home, clear=True, symlinks=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    own = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    (own / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as empty:
        command = [python, "-I", "-c", IMPORT_EVERYTHING, str(own)]
        if subprocess.run(command, check=False, cwd=empty).returncode:
            sys.exit("the installed wheel does not import: see above")


def main() -> None:
    """Checks the wheel named on the command line."""
    (wheel,) = (Path(argument).resolve() for argument in sys.argv[1:])
    check_contents(wheel)
    check_imports(wheel, ROOT / "build" / "wheel-venv")


if __name__ == "__main__":
    main()

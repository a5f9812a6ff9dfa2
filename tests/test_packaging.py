"""What the distribution promises: its metadata, its imports, and its layers."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import erm_gym

ROOT = Path(__file__).resolve().parent.parent

BELOW_ENVS = frozenset({"llm", "emotion", "feedback", "steering"})
ALLOWED: dict[str, frozenset[str]] = {
    "llm": frozenset(),
    "emotion": frozenset({"llm"}),
    "feedback": frozenset({"emotion", "llm"}),
    "steering": frozenset({"emotion", "llm"}),
    "streams": frozenset(),
    "envs": BELOW_ENVS | {"streams"},
    "agents": frozenset({"emotion", "llm", "streams"}),
    "evaluation": BELOW_ENVS | {"agents", "envs", "streams"},
    "cli": BELOW_ENVS | {"agents", "envs", "evaluation"},
    "": frozenset({"envs"}),  # erm_gym/__init__.py, which registers the environments
}
WITHOUT_SB3 = BELOW_ENVS | {"envs", ""}


def source_files() -> Iterator[Path]:
    """All files of the package as it is imported, relative to the root: through the two links."""
    for folder, subfolders, names in os.walk(ROOT / "erm_gym", followlinks=True):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        for name in names:
            yield (Path(folder) / name).relative_to(ROOT)


def requirements() -> list[Requirement]:
    """What the distribution needs, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts]


def layer_of(module: str) -> str:
    """The part of a module's name under `erm_gym`: "llm" for "erm_gym.llm.slots"."""
    return module.removeprefix("erm_gym").removeprefix(".").partition(".")[0]


def forbidden_imports(module: str, source: str) -> list[str]:
    """What `module` imports, anywhere in its source, that its layer must not."""
    layer = layer_of(module)
    allowed = ALLOWED[layer] | {layer}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            targets = [f"relative import of {node.module}"]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            top = target.partition(".")[0]
            if top == "erm_gym":
                imported = layer_of(target)
                wrong = imported in ALLOWED and imported not in allowed and imported != ""
            else:
                wrong = (
                    top in {"agents", "envs", "scripts"}
                    or target.startswith("relative import")
                    or (top in {"stable_baselines3", "sb3_contrib"} and layer in WITHOUT_SB3)
                )
            if wrong:
                found.append(target)
    return found


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("erm_gym.llm.slots", "import erm_gym.emotion.signals", ["erm_gym.emotion.signals"]),
        ("erm_gym.emotion.fear", "from erm_gym import feedback", ["erm_gym.feedback"]),
        ("erm_gym.feedback.user", "from erm_gym.steering import x", ["erm_gym.steering.x"]),
        ("erm_gym.envs.text", "def f():\n    from erm_gym import agents", ["erm_gym.agents"]),
        ("erm_gym.envs.text", "import stable_baselines3.ppo", ["stable_baselines3.ppo"]),
        ("erm_gym.agents.ppo", "from erm_gym.envs import text", ["erm_gym.envs.text"]),
        ("erm_gym.evaluation.run", "import erm_gym.cli", ["erm_gym.cli"]),
        ("erm_gym.cli", "from scripts import x", ["scripts.x"]),
        ("erm_gym.agents.ppo", "from envs import text", ["envs.text"]),
        ("erm_gym.agents.ppo", "from .dqn import x", ["relative import of dqn"]),
        ("erm_gym.agents.ppo", "import stable_baselines3, erm_gym.emotion, erm_gym.agents.x", []),
        ("erm_gym.envs.text", "from erm_gym import __version__, llm", []),
        ("erm_gym.cli", "from erm_gym import agents, envs, evaluation", []),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str, expected: list[str]) -> None:
    assert forbidden_imports(module, source) == expected


def test_imports_follow_the_arrows() -> None:
    violations = []
    layers = set()
    for path in source_files():
        if path.suffix != ".py":
            continue
        parts = path.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        layers.add(layer_of(module))
        assert layer_of(module) in ALLOWED, f"{path}: say in ALLOWED what this layer may import"
        source = (ROOT / path).read_text(encoding="utf-8")
        violations += [f"{path} imports {name}" for name in forbidden_imports(module, source)]
    assert {"", "agents", "envs"} <= layers
    assert violations == []


def test_whatever_is_imported_is_declared() -> None:
    """Also what comes along with another distribution today, which may do without it tomorrow."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    provided_by = importlib.metadata.packages_distributions()
    known = {*sys.stdlib_module_names, "_typeshed", "erm_gym"}  # type checkers bring _typeshed
    imported: dict[str, Path] = {}
    for path in source_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [str(node.module)]
                imported |= {name.partition(".")[0]: path for name in names}
    undeclared = {
        name: str(path)
        for name, path in imported.items()
        if name not in known
        and not declared & {canonicalize_name(one) for one in provided_by.get(name, [name])}
    }
    assert {"torch", "httpx2", "pydantic"} <= imported.keys()
    assert undeclared == {}


def test_version_is_the_one_installed() -> None:
    assert erm_gym.__version__ == importlib.metadata.version("erm-gym")


def test_import_loads_no_heavy_library(tmp_path: Path) -> None:
    program = (
        "import sys, erm_gym\n"
        "print(sorted({'torch', 'transformers', 'stable_baselines3'} & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["agents", "envs"])
def test_links_are_relative(name: str) -> None:
    link = ROOT / "erm_gym" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert link.resolve() == ROOT / name


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in source_files() if path.suffix == ".py"}
    assert [str(path) for path in folders if not (ROOT / path / "__init__.py").is_file()] == []


def test_every_data_file_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = [p.removeprefix("**/") for p in project["tool"]["setuptools"]["package-data"]["*"]]
    data = [path for path in source_files() if path.suffix != ".py"]
    assert [str(p) for p in data if not any(fnmatch(p.name, pattern) for pattern in patterns)] == []


def test_every_requirement_is_pinned() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert pin, f"constraints.txt: {line!r} is not name==version"
            pins[canonicalize_name(pin[1])] = pin[2]
    assert {"torch", "pytest"} <= {requirement.name for requirement in requirements()}
    for requirement in requirements():
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt lacks {requirement.name}"
        assert version in requirement.specifier, f"{requirement} excludes the pin {version}"

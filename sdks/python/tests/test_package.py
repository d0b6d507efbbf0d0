"""The package as others get it: a wheel, installed into an empty environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parents[1]


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Built of a copy: a build leaves traces.
    source = shutil.copytree(HERE, folder / "source", ignore=shutil.ignore_patterns(".*", "__pycache__", "tests"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_has_the_package_its_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert "agent_vault_sdk/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"agent_vault_sdk"}


USE = """
import asyncio, sys
import agent_vault_sdk as sdk

assert "empty" in sdk.__file__, sdk.__file__
with sdk.AgentVault("t", retries=0, address="http://127.0.0.1:9") as av:
    try:
        av.vault("v").services.list()
    except sdk.NetworkError as error:
        print(sdk.VERSION, type(error).__name__)
assert sdk.LogRow.__dataclass_fields__ and all(hasattr(sdk, name) for name in sdk.__all__)
"""


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    run(sys.executable, "-m", "venv", "--without-pip", empty, cwd=tmp_path)
    python = empty / "bin" / "python"
    library = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    # Nothing is fetched: what it brings, httpx, is the one of these tests.
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", library, wheel, cwd=tmp_path)
    (Path(library) / "others.pth").write_text(str(Path(httpx.__file__).parents[1]))
    assert "NetworkError" in run(python, "-c", USE, cwd=tmp_path)
    (tmp_path / "use.py").write_text(
        "from agent_vault_sdk import AgentVault, LogRow\n\n"
        'rows: list[LogRow] = AgentVault("t").vault("v").logs.list(limit=1).logs\n'
        'AgentVault("t").vault("v").logs.list(colour="red")  # type: ignore[call-arg]\n'
        'number: int = AgentVault("t").me().role  # type: ignore[assignment]\n'
    )
    run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "use.py", cwd=tmp_path)

"""A virtual environment for each peer, with the newest versions of the packages that it needs."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build/peers"


class UnavailableError(Exception):
    """A peer cannot run here; says which and why."""


def requirements_of(name: str) -> Path:
    """The list of packages of a peer; a peer without one runs in this project's environment."""
    return HERE / f"{name}.txt"


def python_of(name: str, folder: Path = FOLDER, renew: bool = False) -> Path:
    """The interpreter that runs a peer, in an environment that is made when it is not there.

    Args:
        name: of the peer, a module of this package.
        folder: of all environments.
        renew: whether to make the environment anew, for versions that are newer.

    Raises:
        UnavailableError: packages cannot be installed.
    """
    requirements = requirements_of(name)
    if not requirements.is_file():
        return Path(sys.executable)
    home = (folder / name).resolve()
    stamp, python = home / "requirements.txt", home / "bin/python"
    wanted = f"# for Python {sys.version}\n{requirements.read_text(encoding='utf-8')}"
    if not renew and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {home}", flush=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    _run(name, [sys.executable, "-m", "venv", "--clear", str(home)])
    _run(name, [str(python), *install, "--requirement", str(requirements)])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UnavailableError(f"{name}: {' '.join(command[1:4])} failed: {''.join(said)}")

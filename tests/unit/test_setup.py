"""The set-up script, run in a copy of the checkout with stand-ins for the system's programs."""

import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"

DPKG_QUERY = """#!/bin/bash
status=0
for package in "${@:3}"; do
    if grep -qsx "$package" "$STAND_INS/absent"; then status=1; else
        echo "installed $package 1.0-1"; fi
done
exit $status
"""
APT_GET = """#!/bin/bash
echo "apt-get $*" >>"$STAND_INS/calls"
[[ $* != *install* ]] || rm -f "$STAND_INS/absent"
"""
# `python3 -m venv` makes a .venv whose python is this stand-in again.
FAKE_PYTHON = """#!/bin/bash
echo "python $*" >>"$STAND_INS/calls"
case "$*" in
    *'-m venv'*) rm -rf .venv && mkdir -p .venv/bin && cp "$STAND_INS/python3" .venv/bin/python ;;
    *debian_bindings*) printf '%s\n' numpy==1.24.2 mpi4py==3.1.4 ;;
    *'-m pip'*)
        [[ ! -e $STAND_INS/pip-fails ]] || exit 1
        mkdir -p .venv/lib/python3.11/site-packages/{click-8.1.7,numba-0.60.0}.dist-info ;;
esac
"""


class Machine:
    """A folder of stand-ins for a system's programs, and a checkout to set up there."""

    def __init__(self, folder: Path) -> None:
        self.stand_ins = folder / "stand-ins"
        self.stand_ins.mkdir()
        self.checkout = folder / "a checkout"
        (self.checkout / "tools").mkdir(parents=True)
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        shutil.copy(ROOT / "tools/debian_bindings.py", self.checkout / "tools")
        script = (ROOT / "tools/set-up").read_text(encoding="utf-8")
        assert script.count(f"{PYTHON} -m venv") == 1
        script = script.replace(PYTHON, f"'{self.stand_ins}/python3'")
        self.program("set-up", script, self.checkout / "tools")
        for name in ("bash", "cat", "cp", "dirname", "env", "flock", "grep", "mkdir", "mktemp"):
            self.link(name)
        self.site_packages = self.checkout / ".venv/lib/python3.11/site-packages"
        for name in ("rm", "sha256sum"):
            self.link(name)
        self.program("dpkg-query", DPKG_QUERY)
        self.program("apt-get", APT_GET)
        self.program("python3", FAKE_PYTHON)
        self.user(0)

    def link(self, name: str) -> None:
        program = shutil.which(name)
        assert program is not None
        (self.stand_ins / name).symlink_to(program)

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        path = (folder or self.stand_ins) / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def user(self, number: int) -> None:
        self.program("id", f"#!/bin/bash\necho {number}\n")

    def lacks(self, *packages: str) -> None:
        (self.stand_ins / "absent").write_text("\n".join(packages) + "\n", encoding="utf-8")

    def set_up(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "tools/set-up"],
            env={"PATH": os.fspath(self.stand_ins), "STAND_INS": os.fspath(self.stand_ins)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def calls(self) -> list[str]:
        """The calls since the last time this was asked, pip's and apt-get's options left out."""
        log = self.stand_ins / "calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        words = ("-m venv", "debian_bindings", "-m pip", "update", "install")
        return [next(word for word in words if word in line) for line in lines]


MAKES_VENV = ["-m venv", "debian_bindings", "-m pip"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_second_run_does_nothing(machine: Machine) -> None:
    first = machine.set_up()
    assert first.returncode == 0, first.stderr
    assert machine.calls() == MAKES_VENV
    second = machine.set_up()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.calls() == []


def test_root_installs_only_what_is_missing(machine: Machine) -> None:
    machine.lacks("shellcheck", "python3-venv")
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert "Installing Debian packages: python3-venv shellcheck\n" in result.stdout
    assert machine.calls() == ["update", "install", *MAKES_VENV]


def test_without_root_the_exact_commands_are_printed(machine: Machine) -> None:
    machine.user(1000)
    machine.lacks("openmpi-bin", "python3-petsc4py")
    result = machine.set_up()
    assert result.returncode != 0
    assert result.stderr.splitlines()[-4:] == [
        "    sudo apt-get update",
        "    sudo apt-get install --yes --no-install-recommends openmpi-bin python3-petsc4py",
        "or do without them, in an environment of Python 3.11 or newer:",
        "    python3 -m pip install . mpich",
    ]
    assert machine.calls() == []


def test_sudo_is_used_where_it_asks_nothing(machine: Machine) -> None:
    machine.user(1000)
    machine.program("sudo", '#!/bin/bash\n[[ $1 == -n ]] && shift && { [[ $1 == true ]] || "$@"; }')
    machine.lacks("openmpi-bin")
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert machine.calls() == ["update", "install", *MAKES_VENV]


def test_failed_apt_get_shows_its_output(machine: Machine) -> None:
    machine.lacks("openmpi-bin")
    machine.program("apt-get", "#!/bin/bash\necho 'E: no such mirror' >&2\nexit 100\n")
    result = machine.set_up()
    assert result.returncode != 0
    assert result.stderr == "E: no such mirror\napt-get failed, see above.\n"


def test_half_made_venv_is_made_again(machine: Machine) -> None:
    broken = machine.stand_ins / "pip-fails"
    broken.touch()
    assert machine.set_up().returncode != 0
    assert machine.calls() == MAKES_VENV
    broken.unlink()
    assert machine.set_up().returncode == 0
    assert machine.calls() == MAKES_VENV


def test_failed_remake_does_not_leave_the_old_stamp(machine: Machine) -> None:
    assert machine.set_up().returncode == 0
    pyproject = machine.checkout / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text + "\n# changed\n", encoding="utf-8")
    (machine.stand_ins / "pip-fails").touch()
    assert machine.set_up().returncode != 0
    pyproject.write_text(text, encoding="utf-8")
    (machine.stand_ins / "pip-fails").unlink()
    machine.calls()
    assert machine.set_up().returncode == 0
    assert machine.calls() == MAKES_VENV


@pytest.mark.parametrize("name", ["numpy", "mpi4py"])
def test_a_copy_in_front_of_debians_is_noticed(machine: Machine, name: str) -> None:
    assert machine.set_up().returncode == 0
    machine.calls()
    (machine.site_packages / f"{name}-9.1.dist-info").mkdir()
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()
    assert said[0].startswith(f"{name}-9.1 is in the way of Debian's {name}==")
    assert "--constraint .venv/constraints.txt" in said[-1]
    assert machine.calls() == MAKES_VENV
    assert (machine.set_up().stderr, machine.calls()) == ("", [])


def test_a_package_that_is_gone_is_noticed(machine: Machine) -> None:
    assert machine.set_up().returncode == 0
    machine.calls()
    (machine.site_packages / "numba-0.60.0.dist-info").rmdir()
    result = machine.set_up()
    assert result.stderr.splitlines()[0] == "numba-0.60.0 is gone"
    assert machine.calls() == MAKES_VENV


def test_what_users_add_and_upgrade_stays(machine: Machine) -> None:
    assert machine.set_up().returncode == 0
    machine.calls()
    (machine.site_packages / "scipy-1.10.1.dist-info").mkdir()
    (machine.site_packages / "click-8.1.7.dist-info").rename(
        machine.site_packages / "click-8.2.0.dist-info"
    )
    assert (machine.set_up().stderr, machine.calls()) == ("", [])


@pytest.mark.skipif(
    not Path("/usr/lib/petscdir").exists() or not sys.base_prefix.startswith("/usr"),
    reason="the bindings are not Debian's",
)
def test_pip_itself_keeps_to_debians_versions(tmp_path: Path) -> None:
    """Also where somebody asks for a newer NumPy by name, and the path has a space in it."""
    home = tmp_path / "a venv"
    venv.create(home, system_site_packages=True, symlinks=True)
    python, tool = home / "bin/python", ROOT / "tools/debian_bindings.py"
    told = subprocess.run([python, tool], capture_output=True, text=True, check=True).stdout
    (home / "constraints.txt").write_text(told, encoding="utf-8")
    words = ("--python", python, "install", "--no-index", "--dry-run", "numpy>=9")
    asked = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert asked.returncode != 0
    assert "conflicting dependencies" in asked.stdout + asked.stderr


def test_moved_checkout_gets_a_new_venv(machine: Machine) -> None:
    assert machine.set_up().returncode == 0
    machine.calls()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("elsewhere"))
    assert machine.set_up().returncode == 0
    assert machine.calls() == MAKES_VENV


def test_other_systems_are_told_what_is_needed(machine: Machine) -> None:
    (machine.stand_ins / "apt-get").unlink()
    result = machine.set_up()
    assert result.returncode != 0
    assert "This set-up knows Debian 12, 13 and their relatives only" in result.stderr
    assert "    python3 -m pip install . mpich\n" in result.stderr
    assert "    CC=mpicc python3 -m pip install --no-binary=mpi4py ." in result.stderr


def test_what_mpiexec_needs_can_be_put_into_a_shell() -> None:
    """The exports that make itself has, but for what is set already."""
    told = subprocess.run(
        ["make", "--silent", "mpi-environment"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    script = f"{told}\necho $OMPI_ALLOW_RUN_AS_ROOT $OMP_NUM_THREADS"
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "3"}
    shell = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert shell.stdout.split() == ["1", "3"]

"""Jobs on graphics processors: which card a rank gets, and the chain of the script for Polaris."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.batch_system import JOBS, Cluster, words_after

AFFINITY = JOBS / "gpu_affinity.sh"
LAUNCHERS = (
    "PALS_LOCAL_RANKID", "PMI_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
    "SLURM_LOCALID",
)  # fmt: skip
SHOWN = 'printf "%s|" "${CUDA_VISIBLE_DEVICES-unset}" "$@"'
# What each rank is shown goes to a file; what else the script asks Python goes by.
PYTHON = """#!/bin/bash
if [[ $1 == -m ]]; then
    rank=$OMPI_COMM_WORLD_RANK$MPI_LOCALRANKID
    echo "$rank ${CUDA_VISIBLE_DEVICES-unset} $MPICH_GPU_SUPPORT_ENABLED" >>"$STAND_INS/shown"
fi
exec @PYTHON@ "$@"
"""


def start(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command started by the script, with these variables and `folder` before the PATH."""
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    command = ["bash", str(AFFINITY), "bash", "-c", SHOWN, "command", "two words", "*"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)


def cards(folder: Path, ranks: range, **variables: str) -> list[str]:
    """The card of each rank of a node, by PALS."""
    shown = [start(folder, PALS_LOCAL_RANKID=str(rank), **variables) for rank in ranks]
    assert all(one.returncode == 0 for one in shown), shown[0].stderr
    return [one.stdout.split("|")[0] for one in shown]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON.replace("@PYTHON@", cluster.variables["PYTHON"]))
    python.chmod(0o755)
    cluster.variables |= {"PYTHON": str(python), "CUDA_VISIBLE_DEVICES": ""}
    cluster.variables |= {"MPICH_GPU_SUPPORT_ENABLED": ""}
    return cluster


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_tells_the_rank(launcher: str, tmp_path: Path) -> None:
    done = start(tmp_path, GPUS_PER_NODE="4", **{launcher: "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1|two words|*|"


def test_an_mpiexec_within_slurm_is_believed(tmp_path: Path) -> None:
    done = start(tmp_path, GPUS_PER_NODE="4", OMPI_COMM_WORLD_LOCAL_RANK="3", SLURM_LOCALID="0")
    assert done.stdout.startswith("3|")


def test_ranks_take_cards_as_they_lie_beside_their_cores(tmp_path: Path) -> None:
    polaris = {"GPUS_PER_NODE": "4", "GPU_ORDER": "reversed"}
    assert cards(tmp_path, range(4), **polaris) == ["3", "2", "1", "0"]
    assert cards(tmp_path, range(2), **polaris, RANKS_PER_NODE="2") == ["3", "2"]
    assert cards(tmp_path, range(8), **polaris, RANKS_PER_NODE="8") == [*"33221100"]
    assert cards(tmp_path, range(6), GPUS_PER_NODE="4", RANKS_PER_NODE="6") == [*"001223"]
    # unsaid, how many ranks there are
    assert cards(tmp_path, range(6), GPUS_PER_NODE="4") == [*"012301"]


def test_cards_that_the_batch_system_gives_are_kept_to(tmp_path: Path) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "1,GPU-5", "GPUS_PER_NODE": "4"}
    assert cards(tmp_path, range(2), **given) == ["1", "GPU-5"]
    assert cards(tmp_path, range(2), CUDA_VISIBLE_DEVICES="2") == ["2", "2"]


def test_cards_are_counted_where_nobody_says_how_many(tmp_path: Path) -> None:
    lister = tmp_path / "nvidia-smi"
    lister.write_text('#!/bin/sh\necho "GPU 0: A (UUID: x)"; echo "GPU 1: A (UUID: y)"\n')
    lister.chmod(0o755)
    assert cards(tmp_path, range(3)) == ["0", "1", "0"]
    lister.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    # the command finds out by itself that there is none
    assert cards(tmp_path, range(1)) == ["unset"]


def test_a_rank_that_nobody_tells_is_an_error(tmp_path: Path) -> None:
    done = start(tmp_path, GPUS_PER_NODE="4")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("gpu_affinity.sh: no launcher says which rank of its node")
    assert done.stderr.endswith("start it by mpiexec or srun\n")
    assert done.stderr.count("\n") == 1


def test_a_chain_shows_each_rank_its_card(cluster: Cluster) -> None:
    """The stand-in for PALS starts the ranks of both nodes here, so that they share one."""
    on_the_processor = "-s parallel.device=cpu"
    done = cluster.run(
        "polaris_gpu.pbs", OPTIONS=on_the_processor, OUTPUT=str(cluster.folder / "whole")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    digest = cluster.summary("whole/summary.json")["digest"]
    (launched,) = cluster.called("mpiexec")
    flags = "-n 2 --ppn 1 --depth=8 --cpu-bind depth --env OMP_NUM_THREADS=1"
    assert launched[:9] == flags.split()
    assert launched[9:11] == ["bash", str(AFFINITY)]
    assert words_after(launched, "-s")[0] == "parallel.device=cuda"
    shown = (cluster.folder / "shown").read_text().splitlines()
    assert sorted(shown) == ["0 3 1", "1 2 1"]

    cluster.stop.write_text("250\n")
    done = cluster.run("polaris_gpu.pbs", OPTIONS=on_the_processor, MPICH_GPU_SUPPORT_ENABLED="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job 1 of the chain: exit status 75" in done.stdout
    (submitted,) = cluster.called("qsub")
    assert submitted[-1] == "jobs/polaris_gpu.pbs"
    assert words_after(submitted, "-W") == ["depend=afterany:1.server"]
    variables = cluster.sent()
    assert variables["ATTEMPT"] == "2"
    assert variables["RANKS_PER_NODE"] == "1"
    assert variables["MPICH_GPU_SUPPORT_ENABLED"] == "0"
    done = cluster.run("polaris_gpu.pbs", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job 2 of the chain: exit status 0" in done.stdout
    assert cluster.called("qsub") == []
    assert cluster.summary()["digest"] == digest


def test_a_job_without_cupy_is_not_submitted_again(cluster: Cluster) -> None:
    absent = cluster.folder / "absent"
    absent.mkdir()
    (absent / "cupy.py").write_text("raise ModuleNotFoundError('no cupy here', name='cupy')\n")
    path = f"{absent}:{cluster.variables['PYTHONPATH']}"
    done = cluster.run("polaris_gpu.pbs", PYTHONPATH=path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'parallel.device = "cuda" needs CuPy' in done.stderr
    assert cluster.called("qsub") == []

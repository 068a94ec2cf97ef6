"""The job scripts as they are, in a small stand-in for PBS and Slurm."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch_system import CONFIG, JOB, JOBS, Cluster, words_after
from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(400)  # up to three jobs


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_chain_of_three_jobs_comes_to_the_right_digest(cluster: Cluster) -> None:
    done = cluster.run("polaris_gradient.pbs", OUTPUT=str(cluster.folder / "whole"))
    assert done.returncode == 0, done.stdout + done.stderr
    digest = cluster.summary("whole/summary.json")["digest"]

    cluster.stop.write_text("250 900\n")
    variables: dict[str, str] = {}
    for attempt in (1, 2):
        done = cluster.run("polaris_chain.pbs", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"job {attempt} of the chain: exit status 75" in done.stdout
        (submitted,) = cluster.called("qsub")
        assert submitted[-1] == "jobs/polaris_chain.pbs"
        assert words_after(submitted, "-W") == ["depend=afterany:1.server"]
        assert words_after(submitted, "-q") == ["prod"]
        assert words_after(submitted, "-A") == ["MyProject"]
        assert "walltime=00:30:00" in words_after(submitted, "-l")
        variables = cluster.sent()
        assert variables["ATTEMPT"] == str(attempt + 1)
    done = cluster.run("polaris_chain.pbs", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job 3 of the chain: exit status 0" in done.stdout
    assert cluster.called("qsub") == []
    assert cluster.summary()["digest"] == digest
    assert cluster.summary()["restart"]["resumed"] == 2
    (launched,) = cluster.called("mpiexec")
    flags = "-n 2 --ppn 1 --depth=1 --cpu-bind depth --env OMP_NUM_THREADS=1"
    assert launched[:9] == flags.split()

    # Whoever submits a finished chain again learns that it is done.
    done = cluster.run("polaris_chain.pbs")
    assert done.returncode == 0
    assert cluster.summary()["digest"] == digest


def test_a_chain_goes_on_where_the_answer_is_no_json_and_the_data_elsewhere(
    cluster: Cluster,
) -> None:
    cluster.stop.write_text("250\n")
    (cluster.folder / "job.json").write_text('{"Jobs": {"1.server": {"A": "a "quote" "}}}')
    (cluster.folder / "job.txt").write_text(
        "Job Id: 1.server\n    queue = workq\n    Resource_List.select = 2:ncpus=2:mpi\n"
        "\tprocs=2\n    Resource_List.walltime = 00:30:00\n"
        "    stime = Sat Nov 21 09:00:00 2099\n"
    )
    options = f"-s restart.directory={cluster.folder}/durable"
    done = cluster.run("generic_chain.pbs", OPTIONS=options, PBS_O_QUEUE="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot find out when this job ends" not in done.stderr
    (submitted,) = cluster.called("qsub")
    assert words_after(submitted, "-l") == ["select=2:ncpus=2:mpiprocs=2", "walltime=00:30:00"]
    assert words_after(submitted, "-q") == ["workq"]
    assert words_after(submitted, "-A") == []
    # Not the interpreter of the first job alone.
    assert cluster.sent()["PYTHON"] == sys.executable


def test_a_chain_ends_where_it_does_not_advance_or_is_too_long(cluster: Cluster) -> None:
    cluster.stop.write_text("250\n")
    done = cluster.run("generic_chain.pbs", MOST_ATTEMPTS="1")
    assert done.returncode == 75
    assert "1 jobs are the most that the chain may have" in done.stderr
    assert cluster.called("qsub") == []
    stuck = cluster.folder / "stuck"
    stuck.write_text("#!/bin/sh\nexit 75\n")
    stuck.chmod(0o755)
    done = cluster.run("generic_chain.pbs", PYTHON=str(stuck))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the chain ends: the run did not advance" in done.stderr
    assert cluster.called("qsub") == []


def test_a_wrong_configuration_is_not_submitted_again(cluster: Cluster) -> None:
    done = cluster.run("polaris_chain.pbs", OPTIONS="-s grid.nx=1")
    assert done.returncode == 2
    assert "grid.nx = 1" in done.stderr
    assert cluster.called("qsub") == []


def test_slurm_queues_the_job_again(cluster: Cluster) -> None:
    cluster.stop.write_text("250\n")
    done = cluster.run("generic_chain.slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.called("scontrol") == [["requeue", "7"]]
    done = cluster.run("generic_chain.slurm", SLURM_RESTART_COUNT="1")
    assert "run 2 of the job: exit status 0" in done.stdout
    assert cluster.called("scontrol") == []


@pytest.mark.parametrize(
    "script", ["generic_chain.pbs", "polaris_chain.pbs", "generic_chain.slurm"]
)
def test_a_job_that_was_cancelled_stays_cancelled(cluster: Cluster, script: str) -> None:
    """`qdel`, `qrerun` and `scancel` signal shell and ranks; this launcher passes 75 on."""
    for stop, status in (("250:term", ""), ("600:usr1", ""), ("900:term", "1")):
        cluster.stop.write_text(f"{stop}\n")
        signal = "TERM" if "usr1" in stop else ""  # it comes while the run stops by itself
        done = cluster.run(
            script, JOB_SIGNAL=signal, **({"MPIEXEC_STATUS": status} if status else {})
        )
        assert done.returncode == int(status or 75), done.stdout + done.stderr
        assert "everything is saved" in done.stderr
        assert cluster.called("qsub") == cluster.called("scontrol") == []
        assert "this job was cancelled, with everything saved" in done.stderr or status


def test_a_job_that_was_killed_at_the_end_of_its_time_goes_on_from_what_was_saved(
    cluster: Cluster,
) -> None:
    cluster.stop.write_text("250:term\n")
    over = {"MPIEXEC_STATUS": "137", "TIME_LEFT": "0:01"}
    done = cluster.run("generic_chain.slurm", OPTIONS="-s restart.walltime=1000", **over)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the job was killed at the end of its time" in done.stdout
    assert cluster.called("scontrol") == [["requeue", "7"]]
    assert int((cluster.folder / "run/restart/way-out").read_text()) >= 1


@pytest.mark.parametrize("script", ["generic_chain.pbs", "generic_chain.slurm"])
def test_a_launch_that_was_aborted_is_not_taken_for_a_finished_run(
    cluster: Cluster, script: str
) -> None:
    """Slurm's srun returns 0 then."""
    aborting = "#!/bin/bash\necho 'launch failed' >&2\n"
    for program in ("mpiexec", "srun"):
        (cluster.folder / program).write_text(aborting)
    done = cluster.run(script)
    assert done.returncode == 1, done.stdout + done.stderr
    said = f"the launcher returned 0, but {cluster.folder}/run has no results of a finished run"
    assert said in done.stderr
    assert cluster.called("qsub") == cluster.called("scontrol") == []


def test_a_stop_that_the_launcher_hides_goes_on(cluster: Cluster) -> None:
    cluster.stop.write_text("250\n")
    done = cluster.run("generic_chain.slurm", MPIEXEC_STATUS="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"exit status 75, steps 0 to [1-9]\d+", done.stdout)
    assert cluster.called("scontrol") == [["requeue", "7"]]
    done = cluster.run("generic_chain.slurm", MPIEXEC_STATUS="0", SLURM_RESTART_COUNT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no results" not in done.stderr
    assert cluster.called("scontrol") == []


def test_a_job_that_runs_again_makes_no_second_successor(cluster: Cluster) -> None:
    cluster.stop.write_text("250\n")
    assert cluster.run("generic_chain.pbs").returncode == 0
    assert len(cluster.called("qsub")) == 1
    (cluster.folder / "queue").write_text("2.server\n")
    cluster.stop.write_text("500\n")
    done = cluster.run("generic_chain.pbs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not submitted again: 2.server is in the queue already" in done.stdout
    assert cluster.called("qsub") == []


def test_the_next_job_has_the_name_and_the_variables_of_this_one(cluster: Cluster) -> None:
    job = {**JOB, "Job_Name": "mine", "Variable_List": {"EXTRA": "x", "PBS_O_HOME": "/"}}
    (cluster.folder / "job.json").write_text(json.dumps({"Jobs": {"1.server": job}}))
    config = cluster.folder / "with, comma.toml"
    config.write_text(CONFIG)
    cluster.stop.write_text("250\n")
    done = cluster.run("generic_chain.pbs", CONFIG=str(config), EXTRA="a, 'b' \"c\"")
    assert done.returncode == 0, done.stdout + done.stderr
    (submitted,) = cluster.called("qsub")
    assert words_after(submitted, "-N") == ["mine"]
    assert cluster.sent()["CONFIG"] == str(config)
    assert cluster.sent()["EXTRA"] == "a, 'b' \"c\""
    assert not any(name.startswith("PBS_") for name in cluster.sent())


def test_a_qsub_that_fails_leaves_advice(cluster: Cluster) -> None:
    (cluster.folder / "server-away").write_text("")
    cluster.stop.write_text("250\n")
    done = cluster.run("generic_chain.pbs")
    assert done.returncode == 75
    assert len(cluster.called("qsub")) == 3
    assert "the next job could not be submitted; everything is saved" in done.stderr
    assert f"burgers-adjoint resume {cluster.folder}/run" in done.stderr


@pytest.mark.parametrize("script", sorted(JOBS.glob("*_*.[ps][bl]*")), ids=lambda path: path.name)
def test_a_script_says_from_where_to_submit_it(cluster: Cluster, script: Path) -> None:
    elsewhere = cluster.folder / "elsewhere"
    elsewhere.mkdir()
    where = {"PBS_O_WORKDIR": str(elsewhere), "SLURM_SUBMIT_DIR": str(elsewhere)}
    done = cluster.run(script.name, OUTPUT="output/stray", **where)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"{elsewhere} has no jobs/common.sh: submit from the repository's"
    )
    assert done.stderr.count("\n") == 1
    assert list(elsewhere.iterdir()) == []


def test_scaling_takes_more_ranks_with_the_index(cluster: Cluster) -> None:
    for index, ranks in (("0", "1"), ("1", "2")):
        done = cluster.run("polaris_scaling.pbs", PBS_ARRAY_INDEX=index, FEWEST_RANKS="1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert cluster.called("mpiexec")[0][:2] == ["-n", ranks]
        assert cluster.summary(f"run/{index}.json")["ranks"] == int(ranks)
    done = cluster.run("polaris_scaling.pbs", PBS_ARRAY_INDEX="2", FEWEST_RANKS="1")
    assert "4 ranks do not fit on 2 nodes" in done.stdout


def test_check_says_whether_the_gradient_is_right(cluster: Cluster) -> None:
    done = cluster.run("polaris_check.pbs", OPTIONS="-s time.steps=20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(check["passed"] for check in cluster.summary()["checks"])


@pytest.mark.parametrize("script", sorted(JOBS.glob("polaris_*.pbs")), ids=lambda path: path.stem)
def test_directives_are_those_that_polaris_wants(script: Path) -> None:
    head = re.match(r"#!/bin/bash -l\n((?:#PBS .*\n)+)\n", script.read_text(encoding="utf-8"))
    assert head is not None
    directives = head[1].splitlines()
    for wanted in (
        r"-l select=\d+:system=polaris",
        "-l place=scatter",
        r"-l walltime=\d\d:\d\d:\d\d",
        "-l filesystems=home:eagle",
        r"-q \w+",
        r"-A \w+",
        "-k doe",
        "-j oe",
    ):
        assert any(re.fullmatch(f"#PBS {wanted}", line) for line in directives), wanted
    assert not any("# " in line for line in directives)


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = sorted(map(str, JOBS.iterdir()))
    checked = subprocess.run(
        ["shellcheck", "--external-sources", *scripts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert checked.returncode == 0, checked.stdout

"""Sweeps as CUDA C: they compile, round every operation by itself, and keep their rings."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.devices.prelude import DEVICE, NVRTC_OPTIONS
from burgers_adjoint.equations.burgers.controls import Traits
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.cuda_source import Source
from burgers_adjoint.kernels.marching import PAD, March
from burgers_adjoint.kernels.programs import Buffer, Level
from burgers_adjoint.kernels.tiling import Tiling, tiling_of
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_levels import StepLevels

GRID = Grid(64, 48, (0.0, 1.0), (0.0, 1.0), periodic=False)
FIELDS = ("viscosity_field", "forcing_in_time")
PROCESSORS, SHARED_BYTES = 108, 163 * 1024  # of an A100
# Not what a sweep leaves unused, such as the second of two points where one alone is of interest.
WARNINGS = ("-Werror=all-warnings", "-diag-suppress=177,550")


@dataclass(frozen=True)
class Program:
    """Steps that share a sweep."""

    integrator: str
    scheme: str
    n_steps: int = 1
    adjoint: bool = False
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        way = "adjoint" if self.adjoint else "forward"
        return "-".join([self.integrator, self.scheme, way, str(self.n_steps), *self.fields[:1]])

    def levels(self, bounded: bool = True) -> list[Level]:
        controls = ("initial", "viscosity", *self.fields)
        traits = Traits(knots=(0.0, 0.02, 0.09))
        recipe = Recipe(controls, 0.01, self.integrator, self.scheme, traits=traits)
        kinds = StepKinds(recipe.equation(GRID), recipe.tableau, recipe.wanted, bounded)
        levels = StepLevels(kinds)
        if self.adjoint:
            states = [Buffer(2, ("state", n)) for n in range(self.n_steps)]
            return levels.adjoint(Buffer(2, "cotangent"), states)
        between = [Buffer(2) for _ in range(self.n_steps - 1)]
        return levels.forward([Buffer(2, "start"), *between, Buffer(2, "end")])


EULER1, EULER4 = Program("euler", "central"), Program("euler", "central", 4)
EULER_BACK = Program("euler", "central", 2, adjoint=True)
RK4, RK4_BACK = Program("rk4", "upwind"), Program("rk4", "upwind", adjoint=True)
PROGRAMS = [
    EULER1, EULER4, EULER_BACK, Program("euler", "central", 3, True), RK4, RK4_BACK,
    Program("rk4", "upwind", fields=FIELDS), Program("rk4", "upwind", 1, True, FIELDS),
]  # fmt: skip
programs = pytest.mark.parametrize("program", PROGRAMS, ids=str)


def march_of(program: Program) -> March:
    return March(program.levels())


def source_of(program: Program, tiling: Tiling | None = None) -> Source:
    march = march_of(program)
    tiling = tiling or tiling_of(march, 4096, 4096, PROCESSORS, SHARED_BYTES)
    return Source(march, tiling.threads, tiling.points, tiling.ahead)


# ---- compilers


def by_nvcc(text: str, architectures: Sequence[str], folder: Path) -> None:
    source = folder / "sweep.cu"
    source.write_text(text, encoding="utf-8")
    targets = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in architectures]
    command = ["nvcc", "-fatbin", *targets, *NVRTC_OPTIONS, *WARNINGS, str(source)]
    command += ["-o", str(folder / "sweep.fatbin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert (folder / "sweep.fatbin").stat().st_size > 0


def by_nvrtc(text: str, architectures: Sequence[str], folder: Path) -> None:
    from cuda.bindings import nvrtc  # type: ignore[import-not-found, unused-ignore]

    for one in architectures:
        options = [word.encode() for word in (f"--gpu-architecture=sm_{one}", *NVRTC_OPTIONS)]
        status, program = nvrtc.nvrtcCreateProgram(text.encode(), b"sweep.cu", 0, [], [])
        assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
        _, size = nvrtc.nvrtcGetCUBINSize(program)
        assert size > 0
        nvrtc.nvrtcDestroyProgram(program)


def by_cupy(text: str, architectures: Sequence[str], folder: Path) -> None:
    from cupy_backends.cuda.libs import nvrtc  # type: ignore[import-not-found, unused-ignore]

    for one in architectures:
        program = nvrtc.createProgram(text, "sweep.cu", (), ())
        try:
            nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{one}", *NVRTC_OPTIONS))
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(program))
        assert len(nvrtc.getCUBIN(program)) > 0
        nvrtc.destroyProgram(program)


def has_nvcc() -> bool:
    return shutil.which("nvcc") is not None


def has_bindings() -> bool:
    from cuda.bindings import nvrtc  # type: ignore[import-not-found, unused-ignore]

    return bool(nvrtc.nvrtcVersion())


def has_cupy() -> bool:
    from cupy_backends.cuda.libs import nvrtc  # type: ignore[import-not-found, unused-ignore]

    return bool(nvrtc.getVersion())


def compiler() -> Callable[[str, Sequence[str], Path], None] | None:
    """The first one that is there; packages may be, and lack the library that they ask."""
    for one, is_there in ((by_nvcc, has_nvcc), (by_nvrtc, has_bindings), (by_cupy, has_cupy)):
        with suppress(Exception):  # each package has its own for what it lacks
            if is_there():
                return one
    return None


@programs
def test_sweeps_compile_for_cards(program: Program, tmp_path: Path) -> None:
    compile_ = compiler()
    if compile_ is None:
        pytest.skip("needs nvcc, or NVRTC with cuda.bindings or CuPy")
    compile_(DEVICE + source_of(program).text, ("80", "90"), tmp_path)


# ---- the text


# A value is a variable, a number of the sweep's table, or a constant.
VALUE = r"(?:\w+|numbers\.c\[\d+\]|\(-?\d[\d.e+-]*\))"
OPERATION = re.compile(
    rf"(?:(?:add_|sub_|mul_|div_)\({VALUE}, {VALUE}\)|fma_\({VALUE}, {VALUE}, {VALUE}\)"
    rf"|sqrt_\({VALUE}\)|-{VALUE})"
)
OPERATIONS = re.compile(r"\s*const double x\d_\d+ = (.*);")
RESULTS = re.compile(r"\s*double o\d_\d+ = (.*);")
DOUBLE = re.compile(r"\b(?:[xp]\d+(?:_\d+)?|o\d_\d+|numbers\.c\[\d+\])")


@programs
@pytest.mark.parametrize("points", [1, 2])
def test_each_operation_is_rounded_by_itself(program: Program, points: int) -> None:
    lines = source_of(program, Tiling(64, points, 1, 32)).text.splitlines()
    operations = [found[1] for line in lines if (found := OPERATIONS.fullmatch(line))]
    assert len(operations) > 10
    assert [one for one in operations if not OPERATION.fullmatch(one)] == []
    results = [found[1] for line in lines if (found := RESULTS.fullmatch(line))]
    assert [one for one in results if not re.fullmatch(VALUE, one)] == []
    assert any(one.startswith("fma_(") for one in operations)


@programs
def test_doubles_meet_no_bare_sign(program: Program) -> None:
    """Else the compiler were free to contract."""
    signs = rf"{DOUBLE.pattern}\s*[-+*/]|[+*/]\s*{DOUBLE.pattern}"
    assert re.search(signs, "x0_1 + x0_2")
    assert re.search(signs, "2.0*p1")
    bare = [
        line
        for line in source_of(program).text.splitlines()
        # pointers to pairs of doubles, which are dereferenced
        if re.search(signs, re.sub(r"\*\((?:const )?Group\*\)&", "", line))
    ]
    assert bare == []


@programs
def test_arrays_and_numbers_are_those_that_the_kernel_is_given(program: Program) -> None:
    source = source_of(program)
    given = re.findall(r"double\* (?:RESTRICT )?a(\d+),", source.text)
    assert [*map(int, given)] == [*range(len(source.arrays))]
    n_rows, n_columns = source.numbers_shape
    used = {int(n) for n in re.findall(r"numbers\.c\[(\d+)\]", source.text)}
    assert max(used) < n_rows * n_columns
    written = set(re.findall(r"\ba(\d+)\[[^=;]*\] = ", source.text))
    only_read = {n for n in given if f"const double* RESTRICT a{n}," in source.text}
    assert not written & only_read
    # levels that add to the same array are given it under several names
    aliased = {n for n in given if f"double* a{n}," in source.text}
    densities = {
        str(n) for n, (buffer, _) in enumerate(source.arrays)
        if isinstance(buffer.source, tuple) and buffer.source[0] == "density"
    }  # fmt: skip
    assert aliased == densities


# ---- rings


@programs
def test_rings_are_disjoint(program: Program) -> None:
    march = march_of(program)
    rings = sorted((one.offset, one.ring_rows * one.buffer.n_fields)
                   for one in march.places.values() if one.ring_rows)  # fmt: skip
    ends = [(0, 0), *rings, (march.n_ring_rows, 0)]
    assert all(offset + n == after for (offset, n), (after, _) in pairwise(ends))


def ring_reads(march: March) -> Iterator[tuple[int, Buffer, int, int]]:
    """What levels read of rings: (level, buffer, rows to the north, columns to the east)."""
    for q, level in enumerate(march.levels):
        for buffer in dict.fromkeys(level.bound.values()):
            if march.from_ring(q, buffer):
                yield from ((q, buffer, *point) for point in march.loads(level, buffer))


@programs
def test_rings_hold_what_is_read_from_the_barrier_on_until_it_is_read(program: Program) -> None:
    march = march_of(program)
    n_reads = 0
    for q, buffer, north, east in ring_reads(march):
        n_reads += 1
        row = north - march.lags[q]  # when wave 0 is under way
        for p, level in enumerate(march.levels):
            if buffer not in {level.bound[name] for name in level.outputs}:
                continue
            newest = -march.lags[p]
            if p < q:
                # a thread waits for its own points alone
                assert row <= newest - (1 if east else 0), (q, p)
            # what is written now, by whatever thread, lies in another row of the ring
            n_rows = march.places[buffer].ring_rows
            assert newest - row < n_rows, (q, p)
    assert n_reads or len(march.levels) == 1


@pytest.mark.parametrize(
    ("program", "lags", "extents", "n_ring_rows"),
    [
        (EULER1, [0], [0], 0),
        (EULER4, [0, 1, 2, 3], [3, 2, 1, 0], 12),
        (EULER_BACK, [0, 1, 2], [2, 1, 0], 8),
        (RK4, [0, 2, 4, 6], [6, 4, 2, 0], 32),
        # the copy of the cotangent, three stages computed anew, four adjoints
        (RK4_BACK, [0, 0, 2, 4, 6, 8, 10, 12], [8, 12, 10, 8, 6, 4, 2, 0], 96),
    ],
    ids=str,
)
def test_levels_lag_as_far_as_they_read(
    program: Program, lags: list[int], extents: list[int], n_ring_rows: int
) -> None:
    march = march_of(program)
    assert march.lags == lags
    assert march.extents == extents
    assert march.n_ring_rows == n_ring_rows
    assert march.pad >= max(extents)
    assert march.pad % 4 == 0
    # nothing is known of points beyond the columns that nobody computes
    assert all(abs(east) <= PAD for level in march.levels for _, east in march.points(level))


def test_a_domain_without_an_end_has_no_boundary() -> None:
    march = March(EULER4.levels(bounded=False))
    assert not march.bounded
    assert "beyond" not in Source(march, 64, 2, 1).text
    assert "beyond" in source_of(EULER4).text


# ---- tilings


@programs
@pytest.mark.parametrize(("n_rows", "n_columns"), [(4096, 4096), (48, 64), (13, 5)])
def test_a_tiling_fits_its_card(program: Program, n_rows: int, n_columns: int) -> None:
    march = march_of(program)
    tiling = tiling_of(march, n_rows, n_columns, PROCESSORS, SHARED_BYTES)
    assert tiling.shared_bytes(march) <= SHARED_BYTES
    assert tiling.span(march) >= 2 * march.pad
    assert tiling.span(march) > 0
    assert tiling.height > 0
    assert tiling.threads % 32 == 0


def test_a_program_whose_rings_fit_no_block_is_refused() -> None:
    march = march_of(Program("rk4", "upwind", 6))
    assert march.n_ring_rows == 262
    with pytest.raises(ConfigError) as caught:
        tiling_of(march, 4096, 4096, PROCESSORS, SHARED_BYTES)
    assert str(caught.value) == (
        f"a sweep keeps 262 rows, and computes {march.pad} columns on either side, more than a "
        "block of the device has room for: take fewer steps per exchange "
        "(parallel.steps_per_exchange), or fewer directions at once"
    )

"""Arrays on a device have NumPy's bits, and ask the device for what they should."""

import operator
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from device_probe import PROBE
from fake_ranks import decompositions
from mpi4py import MPI
from stand_in_device import StandIn

from burgers_adjoint.devices import array as array_module
from burgers_adjoint.devices import parcels, staging
from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.errors import ConfigError, NumericalError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel import halo
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.parallel.reductions import add_to_bins, bin_sums, digest, new_bins, norm
from burgers_adjoint.stepping.guards import FiniteGuard
from burgers_adjoint.stepping.time_steps import TimeSteps

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")

LARGEST, TINY = float(np.finfo(float).max), float(np.finfo(float).tiny)
SPECIAL = np.array(
    [
        0.0, -0.0, 1.0, -1.0, 1 / 3, 5e-324, -5e-324, TINY, -TINY, TINY / 2, 1e-200, 1e200,
        LARGEST, -LARGEST, np.inf, -np.inf, np.nan, 2.0**53, 2.0**-1030, 1 + 2.0**-52,
    ]
)  # fmt: skip


@pytest.fixture
def device() -> StandIn:
    return StandIn()


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def special(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers of all magnitudes, and those that are like no others."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 2**64, shape, dtype=np.uint64).view(np.float64)
    return np.where(random.random(shape) < 0.5, random.choice(SPECIAL, shape), values)


def on_device(device: StandIn, values: np.ndarray) -> DeviceArray:
    array = DeviceArray.zeros(device, values.shape)
    array[...] = values
    return array


def same(found: Any, expected: Any) -> bool:
    """Whether all bits are those of NumPy, but for those of what is not a number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    nan = np.isnan(expected)
    return bool(
        (np.isnan(found) == nan).all()
        and (found[~nan] == expected[~nan]).all()
        and (np.signbit(found[~nan]) == np.signbit(expected[~nan])).all()
    )


def launched(device: StandIn) -> list[str]:
    return [call[1] for call in device.calls if call[0] == "launch"]


# ---- arrays and views


def test_new_array_is_zero_and_says_what_it_is(device: StandIn) -> None:
    array = DeviceArray.zeros(device, (2, 3, 4))
    assert (array.shape, array.ndim, array.size, array.nbytes) == ((2, 3, 4), 3, 24, 192)
    assert array.dtype == np.float64
    assert len(array) == 2
    assert array.address % 64 == 0
    assert same(array, np.zeros((2, 3, 4)))
    assert DeviceArray.zeros(device, 5).shape == (5,)
    assert "stand-in" in repr(array)


KEYS = [
    (0,), (-1, 2), (..., slice(2, 5), slice(1, 7)), (slice(None), 3), (1, ..., 2), (0, 1, 2),
    (slice(0, 0),), (..., 4), (slice(1, 2), slice(-3, -1)), (np.int64(1), slice(3, None)), (...,),
    (slice(None), slice(2, 3), slice(None)), (slice(5, 2),), (slice(None), slice(None), 4),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_views_have_the_entries_of_numpys(device: StandIn, key: Any) -> None:
    values = numbers(3, 6, 8)
    array = on_device(device, values)
    assert same(array[key], values[key])
    if values[key].ndim:
        assert isinstance(array[key], DeviceArray)
        array[key].fill(7.0)
    else:
        array[key] = 7.0
    values[key] = 7.0
    assert same(array, values)


def test_views_of_views_write_through(device: StandIn) -> None:
    values = numbers(2, 3, 9, 11)
    array = on_device(device, values)
    for found, expected in ((array, values),):
        inner = found[1][..., 2:8, 3:10]
        inner[1:, 2][...] = expected[0, :2, 0, 2:9]
        for field in inner:
            field[0] = -3.0
        inner[0] += 2.0 * inner[0]
    inner = values[1][..., 2:8, 3:10]
    inner[1:, 2] = values[0, :2, 0, 2:9]
    inner[:, 0] = -3.0
    inner[0] += 2.0 * inner[0]
    assert same(array, values)


@pytest.mark.parametrize(
    "key",
    [[2, 0], slice(None, None, 2), np.array([True, False, True]), (slice(None), [1, 2]), None],
)
def test_other_indices_give_copies_on_the_host_and_set_entries(device: StandIn, key: Any) -> None:
    values = numbers(3, 4, 5)
    array = on_device(device, values)
    assert same(array[key], values[key])
    assert isinstance(array[key], np.ndarray)
    array[key] = -1.0
    values[key] = -1.0
    assert same(array, values)


def test_indices_that_do_not_fit_are_refused(device: StandIn) -> None:
    array = DeviceArray.zeros(device, (2, 3))
    for key in (2, (0, -4), (0, 0, 0), (..., 0, ...)):
        with pytest.raises(IndexError):
            array[key]
    with pytest.raises(TypeError, match="len"):
        len(array.reshape(-1)[0:1].reshape(()))


def test_iteration_gives_views_along_the_first_axis(device: StandIn) -> None:
    array = DeviceArray.zeros(device, (2, 3, 4))
    u, v = array[..., 1:, :]
    u += 1.0
    v[...] = 2.0
    expected = np.zeros((2, 3, 4))
    expected[0, 1:], expected[1, 1:] = 1.0, 2.0
    assert same(array, expected)


def test_values_are_broadcast_and_converted_when_set(device: StandIn) -> None:
    array, expected = DeviceArray.zeros(device, (2, 3, 4)), np.zeros((2, 3, 4))
    other = on_device(device, numbers(3, 4))
    for key, value in [
        (..., [1, 2, 3, 4]), ((0, 1), np.float32(0.1)), (1, numbers(3, 1)), ((1, 2), 10**30),
        ((slice(None), 0), np.arange(4)), (..., other), (0, other), ((1, 1), np.float64(-0.0)),
        ((0, 0, 0), np.array(3)),
    ]:  # fmt: skip
        array[key] = value
        expected[key] = np.asarray(value, dtype=float)
        assert same(array, expected)
    with pytest.raises(ValueError, match="broadcast"):
        array[...] = np.zeros(3)


def test_reshape_is_a_view_of_what_has_no_gaps(device: StandIn) -> None:
    values = numbers(2, 3, 4)
    array = on_device(device, values)
    assert same(array.reshape(-1), values.reshape(-1))
    assert same(array.reshape(6, 4), values.reshape(6, 4))
    assert same(array[1].reshape((2, -1, 2)), values[1].reshape(2, -1, 2))
    array.reshape(24)[5] = 1.0
    assert array[0, 1, 1] == 1.0
    with pytest.raises(ValueError, match="gaps"):
        array[:, 1:].reshape(-1)
    for shape in ((5, 5), (-1, -1), (-1, 7)):
        with pytest.raises(ValueError, match="cannot give shape"):
            array.reshape(shape)


def test_overlapping_entries_are_read_before_they_are_written(device: StandIn) -> None:
    values = numbers(4, 5)
    array = on_device(device, values)
    array[1:] = array[:-1]
    values[1:] = values[:-1].copy()
    assert same(array, values)
    array[:, :-1] += array[:, 1:]
    values[:, :-1] += values[:, 1:]
    assert same(array, values)


def test_copies_have_their_own_memory_and_no_gaps(device: StandIn) -> None:
    values = special(2, 7, 9)
    array = on_device(device, values)
    part = array[..., 1:5, 2:7].copy()
    assert same(part, values[..., 1:5, 2:7])
    array.fill(0.0)
    assert same(part, values[..., 1:5, 2:7])
    assert part.reshape(-1).shape == (40,)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,), (1,), (1, 1, 1), (3, 1, 4)])
def test_empty_and_thin_arrays(device: StandIn, shape: tuple[int, ...]) -> None:
    values = numbers(*shape)
    array = on_device(device, values)
    array += 1.0
    assert same(array * array, (values + 1.0) * (values + 1.0))
    assert same(array.copy(), values + 1.0)
    assert array.first_not_finite() is None
    totals = new_bins()
    array.add_to_bins(totals)
    assert (totals == bin_sums(values + 1.0)).all()


def test_views_of_many_axes(device: StandIn) -> None:
    values = numbers(3, 4, 3, 4, 3, 5)
    array = on_device(device, values)
    key = (slice(1, 3), slice(1, 3), slice(0, 2), slice(1, 4), slice(0, 2), slice(2, 5))
    part, expected = array[key], values[key]
    assert same(part, expected)
    assert same(part.copy(), expected)
    assert same(part + part, expected + expected)
    totals = new_bins()
    part.add_to_bins(totals)
    assert (totals == bin_sums(expected)).all()
    part[...] = 2.0 * part
    values[key] *= 2.0
    part[1, 1].fill(3.0)
    values[key][1, 1] = 3.0
    part[0, 0] = values[key][1, 0]
    values[key][0, 0] = values[key][1, 0]
    assert same(array, values)
    part.fill(0.5)
    values[key] = 0.5
    array[2, 2, 1, 3, 1, 4] = np.inf
    assert part.first_not_finite() == (1, 1, 1, 2, 1, 2)
    other = on_device(device, expected.copy())
    other += 1.0
    part[...] = other
    assert same(array[key], other)


def test_converts_to_what_numpy_asks_for(device: StandIn) -> None:
    array = on_device(device, numbers(2, 3))
    assert np.asarray(array, dtype=np.float32).dtype == np.float32
    assert np.array(array).shape == (2, 3)
    with pytest.raises(ValueError, match="copy"):
        array.__array__(copy=False)
    target = np.zeros((2, 3))
    target[...] = array
    target += array
    assert same(target, np.asarray(array) * 2.0)


# ---- exchange of memory


def test_views_see_an_exchange_of_memory(device: StandIn) -> None:
    values = numbers(2, 2, 3, 4)
    one, other = (on_device(device, part) for part in values)
    views = one[:, 1:], other[:, 1:]
    addresses = one.address, other.address
    one.swap(other)
    assert (other.address, one.address) == addresses
    assert same(views[0], values[1][:, 1:])
    assert same(views[1], values[0][:, 1:])
    one.reshape(-1).swap(other.reshape(-1))
    assert same(one, values[0])
    one.swap(one)
    assert same(one, values[0])


def test_parts_and_arrays_that_differ_do_not_exchange_memory(device: StandIn) -> None:
    one, other = DeviceArray.zeros(device, (2, 3)), DeviceArray.zeros(device, (3, 2))
    with pytest.raises(ValueError, match="a part"):
        one[0].swap(other[0])
    for unlike in (other, DeviceArray.zeros(StandIn(), (2, 3))):
        with pytest.raises(ValueError, match="shapes"):
            one.swap(unlike)


def test_memory_is_given_back(device: StandIn) -> None:
    free, _ = device.memory_info()
    array = DeviceArray.zeros(device, (1000,))
    view = array[3:5]
    assert device.memory_info()[0] == free - 8000
    del array
    assert device.memory_info()[0] == free - 8000
    del view
    assert device.memory_info()[0] == free
    with pytest.raises(ConfigError, match="no room for 8000 bytes"):
        DeviceArray.zeros(StandIn(n_bytes=7000), (1000,))


# ---- arithmetic

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]
IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.itruediv]


def both(*shape: int) -> list[tuple[np.ndarray, Any]]:
    """Every special value with every other, or numbers."""
    left, right = (one.reshape(-1) for one in np.meshgrid(SPECIAL, SPECIAL))
    return [(left.copy(), right.copy()), (special(*shape, seed=1), special(*shape, seed=2))]


@pytest.mark.parametrize("operation", BINARY)
@np.errstate(all="ignore")
def test_operations_of_two_arrays(device: StandIn, operation: Callable[..., Any]) -> None:
    for left, right in both(3, 40, 50):
        arrays = on_device(device, left), on_device(device, right)
        device.calls.clear()
        found = operation(*arrays)
        assert isinstance(found, DeviceArray)
        assert [call[0] for call in device.calls] == ["launch"]
        assert same(found, operation(left, right))


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("number", [3.0, -0.0, np.float64(1e-310), 7, np.float32(0.1), True])
@np.errstate(all="ignore")
def test_operations_with_numbers(
    device: StandIn, operation: Callable[..., Any], number: Any
) -> None:
    values = special(2, 30, 20)
    array = on_device(device, values)
    for found, expected in [
        (operation(array, number), operation(values, number)),
        (operation(number, array), operation(number, values)),
        (operation(array, np.array(number)), operation(values, np.array(number))),
    ]:
        assert isinstance(found, DeviceArray)
        assert same(found, expected)


@pytest.mark.parametrize("operation", IN_PLACE)
@np.errstate(all="ignore")
def test_operations_in_place_write_through(device: StandIn, operation: Callable[..., Any]) -> None:
    values, other = special(2, 20, 30), special(2, 10, 12, seed=3)
    array, given = on_device(device, values), on_device(device, other)
    views = array[..., 3:13, 5:17], values[..., 3:13, 5:17]
    assert operation(views[0], given) is views[0]
    operation(views[1], other)
    operation(views[0], 3.0)
    operation(views[1], 3.0)
    assert same(array, values)
    array[..., 3:13, 5:17] += given
    values[..., 3:13, 5:17] += other
    assert same(array, values)
    views[0].__iadd__(other)  # from the host
    views[1].__iadd__(other)
    assert same(array, values)


@np.errstate(all="ignore")
def test_operations_of_one_array(device: StandIn) -> None:
    values = np.concatenate([SPECIAL, special(300)])
    array = on_device(device, values)
    for function in (np.negative, np.square, np.absolute, operator.neg, abs, np.abs):
        found = function(array)
        assert isinstance(found, DeviceArray)
        assert same(found, function(values))
    for exponent in (2, 2.0, np.int64(2)):
        assert isinstance(array**exponent, DeviceArray)
        assert same(array**exponent, values**exponent)
    for exponent in (3, 0.5, -1):
        assert same(array**exponent, values**exponent)
    array **= 2
    assert isinstance(array, DeviceArray)
    assert same(array, values**2)


def test_chains_round_every_operation(device: StandIn) -> None:
    a, b, c = numbers(3, 100, 100)
    x, y, z = (on_device(device, one) for one in (a, b, c))
    assert same(x * y + z, a * b + c)
    assert same(0.3 * (x - y) - 0.7 * (y - z), 0.3 * (a - b) - 0.7 * (b - c))
    x[1:-1, 1:-1] += 0.1 * (y[1:-1, 2:] - y[1:-1, :-2])
    a[1:-1, 1:-1] += 0.1 * (b[1:-1, 2:] - b[1:-1, :-2])
    assert same(x, a)


def test_other_functions_are_computed_on_the_host(device: StandIn) -> None:
    values = numbers(2, 5, 6)
    array, row = on_device(device, values), numbers(6)
    assert same(np.sqrt(np.abs(array)), np.sqrt(np.abs(values)))
    assert same(array + row, values + row)
    assert same(array * array[0], values * values[0])
    assert np.max(np.abs(array)) == np.abs(values).max()
    assert same(np.sum(array, axis=1), np.sum(values, axis=1))
    assert same(np.add.reduce(array), np.add.reduce(values))
    assert ((array > 0.0) == (values > 0.0)).all()
    assert np.isfinite(array).all()
    assert same(array * (2**60 + 1), values * (2**60 + 1))
    assert same(np.add(array, 1.0, dtype=np.float32, casting="unsafe"),
                np.add(values, 1.0, dtype=np.float32, casting="unsafe"))  # fmt: skip
    assert same(np.divmod(array, 0.3)[1], np.divmod(values, 0.3)[1])
    assert (array * 1j).dtype == np.complex128


def test_results_of_the_host_go_where_they_should(device: StandIn) -> None:
    values = numbers(2, 5, 6)
    array, out, expected = on_device(device, values), on_device(device, values), values.copy()
    assert np.exp(array, out=out) is out
    assert same(out, np.exp(values))
    out[...] = values
    assert np.add(array, 1.0, out=out, where=values > 0.0) is out
    np.add(values, 1.0, out=expected, where=values > 0.0)
    assert same(out, expected)
    host = np.zeros((2, 5, 6))
    assert np.add(array, array, out=host) is host
    assert same(host, values + values)
    assert np.add(values, values, out=out) is out
    assert same(out, values + values)
    assert np.add(1.0, 2.0, out=out) is out
    assert same(out, np.full((2, 5, 6), 3.0))
    total = DeviceArray.zeros(device, (5, 6))
    assert np.add.reduce(array, axis=0, out=total) is total
    assert same(total, values.sum(axis=0))
    np.add.at(array, (0, [1, 1]), 1.0)
    np.add.at(values, (0, [1, 1]), 1.0)
    assert same(array, values)
    fraction, whole = np.modf(array, out=(out, None))
    assert fraction is out
    assert same(out, np.modf(values)[0])
    assert same(whole, np.modf(values)[1])
    array -= numbers(6)
    values -= numbers(6)
    assert isinstance(array, DeviceArray)
    assert same(array, values)
    array[0] *= array[1, :1]
    values[0] *= values[1, :1]
    assert same(array, values)


# ---- what is found in them


@pytest.mark.parametrize("n", [1, 1000, 3_000_000])
def test_bins_are_those_of_the_host(device: StandIn, n: int) -> None:
    random = np.random.default_rng(n)
    values = random.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    for given in (values, np.where(np.isfinite(values), values, -5e-324), numbers(n), -abs(values)):
        totals, expected = bin_sums(numbers(5)), bin_sums(numbers(5))
        add_to_bins(on_device(device, given), totals)
        add_to_bins(given, expected)
        assert (totals == expected).all()


def test_bins_of_special_values_views_and_parts(
    device: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = special(2, 33, 70)
    array = on_device(device, values)
    assert (bin_sums(array[..., 3:21, 5:66]) == bin_sums(values[..., 3:21, 5:66])).all()
    assert (bin_sums(array[..., 3]) == bin_sums(values[..., 3])).all()
    assert (bin_sums(on_device(device, SPECIAL)) == bin_sums(SPECIAL)).all()
    monkeypatch.setattr(array_module.scans, "MOST_ENTRIES", 100)
    assert (bin_sums(array[..., 3:21, 5:66]) == bin_sums(values[..., 3:21, 5:66])).all()
    assert launched(device).count("add_bins") > 30


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0], [-0.0], [-1.0, -5e-324, -TINY], [1.0, 5e-324, TINY], [LARGEST, np.inf, 1.0],
        [-np.inf, -LARGEST], [-np.inf], [1.0, np.nan, np.inf], [np.copysign(np.nan, -1.0), -1.0],
    ],
    ids=str,
)  # fmt: skip
def test_largest_of_special_values(device: StandIn, values: list[float]) -> None:
    given = np.array(values)
    assert same(on_device(device, given).max() + 0.0, given.max() + 0.0)


def test_largest_is_found_on_the_device(device: StandIn) -> None:
    values = numbers(3, 70, 900)
    array = on_device(device, values)
    views = [(array, values), (array[1, 3:60, 7:800], values[1, 3:60, 7:800])]
    for found, expected in views:
        for place in [(0, 0), (-1, -1), (20, 300)]:
            found[..., place[0], place[1]] = expected[..., place[0], place[1]] = 9.0 + place[1]
            device.brought.clear()
            assert np.max(found) == expected.max()
            assert np.max(np.abs(found), initial=2e3) == 2e3
            assert device.brought == [8, 8]
    assert launched(device).count("largest") == 12
    assert same(np.max(array, axis=1), values.max(axis=1))
    assert np.max(array[:0], initial=-1.0) == -1.0
    with pytest.raises(ValueError, match="zero-size"):
        array[:0].max()


@pytest.mark.parametrize("scale", [1.0, 1e-320, 1e-200, 3e-160, 1e200, LARGEST / 8])
def test_norms_have_the_hosts_bits(device: StandIn, scale: float) -> None:
    values = scale * numbers(2, 40, 30)
    values[0, :3] *= 1e-5
    array = on_device(device, values)
    device.brought.clear()
    assert norm(MPI.COMM_SELF, array) == norm(MPI.COMM_SELF, values) > 0
    assert max(device.brought) <= new_bins().nbytes


@pytest.mark.parametrize("extreme", [0.0, 5e-324, -5e-324, TINY, LARGEST, -np.inf, np.nan])
def test_norms_of_extremes(device: StandIn, extreme: float) -> None:
    values = np.full(5, extreme)
    assert same(norm(MPI.COMM_SELF, on_device(device, values)), norm(MPI.COMM_SELF, values))


@pytest.mark.parametrize("size", [1, 6])
def test_digests_are_those_of_the_host(device: StandIn, size: int) -> None:
    for tile in decompositions(size, (37, 300)):
        values = special(3, tile.tile_shape[0] + 4, tile.tile_shape[1] + 6, seed=tile.rank)
        array = on_device(device, values)
        parts = [one[..., 2:-2, 3:-3] for one in (values, array)]
        expected = digest(tile, [*parts[0], parts[0][0]], [1.5, -0.0])
        device.brought.clear()
        # some on the device, some on the host
        assert digest(tile, [*parts[1], parts[0][0]], [1.5, -0.0]) == expected
        assert device.brought == [16] * 3
        assert digest(tile, [parts[1][1], parts[1][0], *parts[0][2:], parts[0][0]], []) != expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_value_that_is_not_finite(device: StandIn, bad: float) -> None:
    values = np.full((3, 40, 700), LARGEST)
    array = on_device(device, values)
    inner = array[:, 2:-2, 3:-3]
    assert inner.first_not_finite() is None
    array[0, 0, 0] = bad
    assert inner.first_not_finite() is None
    for place in [(2, 35, 693), (2, 35, 692), (1, 0, 500), (0, 30, 600), (0, 30, 2), (0, 0, 0)]:
        inner[place] = bad
        assert inner.first_not_finite() == place
    assert array.first_not_finite() == (0, 0, 0)


def test_guard_finds_the_point(device: StandIn) -> None:
    grid = Grid(7, 5, (0.0, 1.0), (0.0, 1.0), False)
    decomposition = Decomposition(MPI.COMM_SELF, grid.shape, periodic=False)
    layout = Layout(*decomposition.tile_shape, halo=2)

    def advance(state: Any, n0: int, n1: int) -> None:
        layout.interior(state)[1, 3, 4] *= 1e100 if n1 < 3 else np.inf

    messages = []
    for new in (layout.new_array, lambda n: DeviceArray.zeros(device, layout.new_array(n).shape)):
        state = new(2)
        guard = FiniteGuard(grid, decomposition, layout, TimeSteps(0.1), ["u", "v"], new, advance)
        layout.interior(state)[...] = 1.0
        guard.begin(state)
        guard.check(state)
        advance(state, 0, 3)
        guard.reached = 3
        with pytest.raises(NumericalError) as caught:
            guard.check(state)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "step 3 " in messages[0]
    assert "v at point [3, 4]" in messages[0]


# ---- ways there and back


def test_download_is_a_copy_that_is_waited_for(device: StandIn) -> None:
    array = on_device(device, numbers(3, 20, 30))
    device.calls.clear()
    np.asarray(array[..., 2:5, 3:7])
    kinds = [call[:2] for call in device.calls]
    number = device.calls[3][1]
    assert kinds == [("copy", "to host")] * 3 + [("record", number), ("synchronize", number)]
    assert all(call[2] == 0 for call in device.calls[:4])


def test_upload_waits_for_the_one_before_it_in_its_slot(device: StandIn) -> None:
    array = on_device(device, numbers(8))
    first = device.calls[-1]
    assert [call[0] for call in device.calls] == ["copy", "record"]
    device.calls.clear()
    array[...] = numbers(8)
    assert device.calls[0] == ("synchronize", first[1], None)
    assert [call[0] for call in device.calls] == ["synchronize", "copy", "record"]


@pytest.mark.parametrize("slot", [512, 700])
def test_large_arrays_go_in_pieces(
    device: StandIn, monkeypatch: pytest.MonkeyPatch, slot: int
) -> None:
    monkeypatch.setattr(staging, "SLOT", slot)
    for shape, key in [
        ((3, 50, 41), ...), ((3, 50, 41), (..., slice(2, 49), slice(1, 40))), ((5000,), ...),
        ((2, 3, 1500), (..., slice(1, 1490))), ((4, 40, 6), (..., 2)),
    ]:  # fmt: skip
        values = special(*shape)
        array = DeviceArray.zeros(device, shape)
        array[key] = values[key]
        assert same(array[key], values[key])
        expected = np.zeros(shape)
        expected[key] = values[key]
        assert same(array, expected)


def test_views_with_many_pieces_go_by_a_kernel(device: StandIn) -> None:
    values = numbers(20, 6, 9)
    array = on_device(device, values)
    device.calls.clear()
    assert same(array[:, 1:4, 2:5], values[:, 1:4, 2:5])
    assert [call[:2] for call in device.calls][:2] == [
        ("launch", "copy_array"), ("copy", "to host"),
    ]  # fmt: skip
    array[:, 1:4, 2:5] = -values[:, 1:4, 2:5]
    values[:, 1:4, 2:5] *= -1.0
    assert same(array, values)


def test_copies_between_views_go_field_by_field(device: StandIn) -> None:
    one, other = (on_device(device, numbers(2, 9, 11, seed=seed)) for seed in (0, 1))
    device.calls.clear()
    one[..., 1:5, 2:6] = other[..., 3:7, 1:5]
    one[...] = other
    one[1:] = one[1:]
    assert device.calls == [("copy", "on device", 0)] * 3
    assert same(one, other)


# ---- messages


@pytest.mark.parametrize("n_fields", [1, 2])
def test_packs_and_unpacks_like_the_host(device: StandIn, n_fields: int) -> None:
    frame = Frame(slice(3, 15), slice(8, 31))
    corners = [
        (*halo.strip(n, frame.rows, 3, False), *halo.strip(e, frame.columns, 3, False))
        for n, e in halo.DIRECTIONS
    ]
    sizes = [3 * (r1 - r0) * (c1 - c0) for r0, r1, c0, c1 in corners]
    starts = np.cumsum([5, *sizes])
    regions = np.array([[at, *one] for at, one in zip(starts, corners, strict=False)])
    values = special(n_fields, 18, 40)
    array = on_device(device, values)
    for first_field in range(4 - n_fields):
        buffers = np.zeros((2, int(starts[-1])))
        for twice in range(2):
            halo.pack(values + twice, regions, first_field, buffers[0])
            (array + twice).pack(regions, first_field, buffers[1])
            assert same(buffers[1], buffers[0])
        message = special(len(buffers[0]), seed=5)
        for twice in range(2):
            expected, found = np.zeros((2, n_fields, 18, 40))
            target = on_device(device, found)
            halo.unpack(message + twice, regions, first_field, expected)
            target.unpack(message + twice, regions, first_field)
            assert same(target, expected)
    none = np.zeros((0, 5), dtype=np.int64)
    array.pack(none, 0, message)
    array.unpack(message, none, 0)
    assert same(array, values)


def test_packs_views(device: StandIn) -> None:
    values = numbers(4, 12, 20)
    array = on_device(device, values)
    regions = np.array([[0, 1, 3, 2, 7], [20, 0, 2, 0, 2]])
    buffers = np.zeros((2, 28))
    halo.pack(values[1:3, 2:, 4:], regions, 0, buffers[0])
    array[1:3, 2:, 4:].pack(regions, 0, buffers[1])
    assert same(buffers[1], buffers[0])
    halo.unpack(buffers[0], regions, 0, values[:2, 1:, 9:])
    array[:2, 1:, 9:].unpack(buffers[0], regions, 0)
    assert same(array, values)


def test_packing_is_waited_for(device: StandIn) -> None:
    array = on_device(device, numbers(2, 12, 20))
    regions, buffer = np.array([[0, 1, 3, 2, 7]]), np.zeros(20)
    array.pack(regions, 0, buffer)
    device.calls.clear()
    array.pack(regions, 0, buffer)
    assert device.calls == [
        ("launch", "pack", 0), ("copy", "to host", 0), ("synchronize", None, 0),
    ]  # fmt: skip
    array.unpack(buffer, regions, 0)
    event = device.calls[-2]
    assert [call[:2] for call in device.calls[3:]] == [
        ("copy", "to device"), ("record", event[1]), ("launch", "unpack"),
    ]  # fmt: skip
    array.unpack(buffer, regions, 0)
    assert device.calls[6] == ("synchronize", event[1], None)


@pytest.mark.parametrize("corners", [False, True])
def test_halo_takes_arrays_of_devices(device: StandIn, corners: bool) -> None:
    decomposition = Decomposition(MPI.COMM_SELF, (9, 13), periodic=True)
    layout = Layout(9, 13, halo=2)
    exchange = Halo(decomposition, Frame(layout.rows, layout.columns), 2, 3, corners)
    hosts = [layout.new_array(n) for n in (2, 1)]
    arrays = []
    for seed, host in enumerate(hosts):
        layout.interior(host)[...] = numbers(len(host), 9, 13, seed=seed)
        arrays.append(on_device(device, host))
    exchange.exchange(*hosts)
    exchange.exchange(*arrays)
    for array, host in zip(arrays, hosts, strict=True):
        array *= 2.0
        layout.interior(host)[...] *= 2.0
    exchange.exchange(*hosts)
    device.calls.clear()
    exchange.exchange(*arrays)
    # once its regions are known there, a tile that is its own neighbour needs the host for nothing
    assert device.calls == [("launch", "wrap", 0)] * 2
    exchange.close()
    for array, host in zip(arrays, hosts, strict=True):
        assert host[0, 0, layout.west] != 0.0
        assert same(array, host)


@pytest.mark.parametrize("n_fields", [1, 3])
def test_regions_go_to_others_of_a_view(device: StandIn, n_fields: int) -> None:
    values = special(n_fields, 40, 60)
    array = on_device(device, values)
    found, expected = array[:, 2:, 3:], values[:, 2:, 3:]
    pairs = np.array([[0, 3, 2, 7, 20, 23, 30, 35], [30, 31, 0, 50, 5, 6, 1, 51]])
    found.wrap(pairs)
    for r0, r1, c0, c1, *to in pairs:
        expected[:, to[0] : to[1], to[2] : to[3]] = expected[:, r0:r1, c0:c1]
    assert same(array, values)
    device.calls.clear()
    found.wrap(np.zeros((0, 8), dtype=np.int64))
    assert not device.calls


def test_parcels_are_kept_within_bounds(device: StandIn) -> None:
    array, buffer = on_device(device, numbers(1, 80, 80)), np.zeros(4)
    for k in range(2 * parcels.MOST_PARCELS + 3):
        array.pack(np.array([[0, k % 70, k % 70 + 2, k // 70, k // 70 + 2]]), 0, buffer)
        assert (
            buffer == np.asarray(array[0, k % 70 : k % 70 + 2, k // 70 : k // 70 + 2]).flat
        ).all()
    held = len(device._memories)
    assert held <= 2 * parcels.MOST_PARCELS + 1


# ---- the source convention


def test_kernels_mean_on_the_host_what_they_say(device: StandIn) -> None:
    values = numbers(100)
    given, out = on_device(device, values), DeviceArray.zeros(device, 100)
    counts = on_device(device, np.array([0, 2**62, 0, 0], dtype=np.int64).view(np.float64))
    function = device.function(PROBE, "probe", 8 * 16)
    assert device.function(PROBE, "probe", 8 * 16) is function
    device.launch(
        function, (2, 4), 16, 8 * 16,
        [*(np.uint64(one.address) for one in (given, out, counts)), np.int32(100), np.int64(1),
         np.float64(1.5)],
    )  # fmt: skip
    blocks = np.concatenate([values, np.zeros(28)]).reshape(8, 16)
    mean = (blocks + np.roll(blocks, -1, axis=1)) * 0.5
    expected = 1.5 * mean + np.sqrt(np.abs(blocks)) / 2.0
    assert np.allclose(out, expected.reshape(-1)[:100], rtol=1e-15, atol=1e-15)
    found = np.asarray(counts).view(np.int64)
    assert found.tolist() == [128, 0, 127, int((values < 0.0).sum())]

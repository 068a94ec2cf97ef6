"""One contract for all codecs, over arrays of all kinds; and what a store makes of refusals."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.config.registry import CODECS
from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.errors import ConfigError, SnapshotError, StorageError
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.block import Block
from burgers_adjoint.snapshots.codecs.codec import Codec, CodecCannot
from burgers_adjoint.snapshots.codecs.verbatim import Verbatim
from burgers_adjoint.snapshots.compressed import CompressedStore
from burgers_adjoint.snapshots.memory import MemoryStore

NAMES = ("float32", "lossless", "quantised", "bounded")
SECTION = Snapshots(tolerance=1e-6)
CODECS_BY_NAME: dict[str, Codec] = {name: CODECS[name](SECTION) for name in NAMES}
CODECS_BY_NAME["verbatim"] = Verbatim()
over_codecs = pytest.mark.parametrize("name", CODECS_BY_NAME)
SINGLE = 2.0**-24

Shape = tuple[int, int, int]


def _bump(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    _, ny, nx = shape
    x, y = np.linspace(-1, 1, nx), np.linspace(-2, 1, ny)[:, None]
    return np.array([np.exp(-k * x**2 - y**2) for k in range(1, shape[0] + 1)])


def _steep(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    field: np.ndarray = np.tanh(200 * (_bump(shape, rng) - 0.4))
    return field


KINDS: dict[str, Callable[[Shape, np.random.Generator], np.ndarray]] = {
    "smooth": _bump,
    "steep": _steep,
    "noise": lambda shape, rng: rng.normal(size=shape),
    "tiny": lambda shape, rng: 1e-200 * _bump(shape, rng),
    "huge": lambda shape, rng: 1e300 * rng.normal(size=shape),
    "wide": lambda shape, rng: rng.normal(size=shape) * 10.0 ** rng.integers(-300, 300, shape),
    "constant": lambda shape, rng: np.full(shape, 3.7),
    "zero": lambda shape, rng: np.zeros(shape),
    "negative zero": lambda shape, rng: np.full(shape, -0.0),
    "subnormal": lambda shape, rng: 5e-324 * rng.integers(-9, 9, shape),
    "same fields": lambda shape, rng: np.repeat(_bump(shape, rng)[:1], shape[0], axis=0),
    "nan": lambda shape, rng: np.where(rng.random(shape) < 0.3, np.nan, 1.0),
    "infinite": lambda shape, rng: np.where(rng.random(shape) < 0.3, -np.inf, 1.0),
}
arrays = st.builds(
    lambda kind, shape, seed: np.ascontiguousarray(
        KINDS[kind](shape, np.random.default_rng(seed)), dtype=float
    ),
    st.sampled_from(sorted(KINDS)),
    st.tuples(st.integers(1, 3), st.integers(1, 24), st.integers(1, 31)),
    st.integers(0, 2**16),
)


def there_and_back(codec: Codec, array: np.ndarray) -> np.ndarray:
    before = array.copy()
    data = memoryview(codec.encode(array))
    assert array.tobytes() == before.tobytes()
    assert len(data) <= codec.bound(array.shape, array.dtype)
    found = np.full_like(array, 77.0)
    codec.decode(memoryview(bytes(data)), found)
    return found


@over_codecs
@settings(max_examples=60, deadline=None)
@given(array=arrays, exponent=st.integers(-14, -1))
def test_what_a_codec_takes_comes_back_as_it_promises(
    name: str, array: np.ndarray, exponent: int
) -> None:
    codec = CODECS_BY_NAME[name]
    codec.tolerances = tolerances = np.array([10.0**exponent * 2.0**k for k in range(len(array))])
    try:
        found = there_and_back(codec, array)
    except CodecCannot:
        assert not codec.lossless
        with np.errstate(over="ignore"):
            singles = array.astype(np.float32)
        assert codec.bounded or not np.isfinite(singles).all()
        return
    if codec.lossless:
        assert found.tobytes() == array.tobytes()
    elif codec.bounded:
        assert (np.abs(found - array).max(axis=(1, 2)) <= tolerances).all()
    else:
        assert (np.abs(found - array) <= SINGLE * np.abs(array) + 1e-45).all()


@over_codecs
@pytest.mark.parametrize("kind", ["smooth", "steep", "constant", "same fields"])
def test_fields_of_everyday_are_taken_and_become_fewer_bytes(name: str, kind: str) -> None:
    array = KINDS[kind]((2, 40, 50), np.random.default_rng(1))
    codec = CODECS_BY_NAME[name]
    codec.tolerances = np.full(2, 1e-6)
    there_and_back(codec, array)
    least = {"float32": 2.0, "lossless": 1.1, "quantised": 3.0, "bounded": 3.0, "verbatim": 1.0}
    assert len(memoryview(codec.encode(array))) * least[name] <= array.nbytes


@pytest.mark.parametrize("kind", ["nan", "infinite"])
@pytest.mark.parametrize("name", ["float32", "quantised", "bounded"])
def test_lossy_codecs_refuse_what_is_no_number(name: str, kind: str) -> None:
    codec = CODECS_BY_NAME[name]
    for tolerance in (1e-6, np.inf):
        codec.tolerances = np.full(2, tolerance)
        with pytest.raises(CodecCannot, match="not finite"):
            codec.encode(KINDS[kind]((2, 9, 11), np.random.default_rng(3)))


def test_single_precision_refuses_what_is_too_large() -> None:
    with pytest.raises(CodecCannot, match="not finite in single precision"):
        CODECS_BY_NAME["float32"].encode(np.full((1, 3, 4), 1e39))


@over_codecs
@pytest.mark.parametrize("cut", [0, 1, 9, -1])
def test_cut_data_is_an_error(name: str, cut: int) -> None:
    codec, array = CODECS_BY_NAME[name], _bump((2, 12, 17), np.random.default_rng(0))
    codec.tolerances = np.full(2, 1e-6)
    data = bytes(memoryview(codec.encode(array)))[:cut]
    with pytest.raises(SnapshotError, match="encoded snapshot"):
        codec.decode(memoryview(data), np.empty_like(array))


@pytest.mark.parametrize("name", ["lossless", "quantised"])
def test_blocks_of_other_sizes_than_there_are_bytes_are_an_error(name: str) -> None:
    codec, array = CODECS_BY_NAME[name], _steep((1, 12, 70), np.random.default_rng(0))
    codec.tolerances = np.full(1, 1e-6)
    data = bytearray(codec.encode(array))
    for at, value in ((-1, 77), (-1, (data[-1] + 40) % 64), (8, 99)):  # two widths, and the order
        damaged = bytearray(data)
        damaged[at] = value
        with pytest.raises(SnapshotError, match="damaged: its blocks are of other sizes"):
            codec.decode(memoryview(damaged), np.empty_like(array))


@pytest.mark.parametrize(("kind", "most", "gain"), [("smooth", 1.0, 3.0), ("steep", 1.06, 0.9)])
def test_rows_are_predicted_from_as_many_as_pack_them_well(
    kind: str, most: float, gain: float
) -> None:
    codec: Any = CODECS_BY_NAME["lossless"]
    (field,) = KINDS[kind]((1, 200, 130), np.random.default_rng(2))
    codec._make_room((1, *field.shape))
    words = {
        order: codec._packing.pack_exactly(field, order, codec._widths, codec._words)
        for order in codec.orders
    }
    order, _, n_words = codec._pack(0, field)
    assert n_words == words[order] <= most * min(words.values())
    assert gain * n_words < words[1]


def test_steps_that_would_be_too_many_are_refused() -> None:
    codec = CODECS_BY_NAME["quantised"]
    codec.tolerances = np.array([1e-20])
    with pytest.raises(CodecCannot, match=r"1e-20 is too small for values up to 3\.7"):
        codec.encode(KINDS["constant"]((1, 9, 11), np.random.default_rng(3)))


def test_a_bound_that_cannot_be_held_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    codec: Any = CODECS["bounded"](SECTION)
    codec.tolerances = np.full(2, 1e-6)
    package = codec._sz

    def compress(field: np.ndarray, config: Any) -> Any:
        config.absErrorBound *= 10
        return package.sz.compress(field, config)

    loose = {
        **vars(package),
        "sz": SimpleNamespace(compress=compress, decompress=package.sz.decompress),
    }
    monkeypatch.setattr(codec, "_sz", SimpleNamespace(**loose))
    with pytest.raises(CodecCannot, match="is beyond the tolerance 1e-06"):
        codec.encode(_steep((2, 30, 41), np.random.default_rng(0)))


def new_store(name: str, limit: int | None = None) -> CompressedStore:
    return CompressedStore(
        MemoryStore(Block, 3),
        CODECS[name](SECTION),
        CODECS["lossless"](SECTION),
        Verbatim(),
        lambda: np.zeros((2, 12, 17)),
        lambda array: np.full(2, 1e-6),
        nullcontext,
        bool,
        near_slots=3,
        limit=limit,
    )


def saved(store: CompressedStore, slot: int, step: int, array: np.ndarray) -> np.ndarray:
    found = np.empty_like(array)
    store.save(slot, step, lambda buffer: np.copyto(buffer, array))
    store.load(slot, step, lambda buffer: np.copyto(found, buffer))
    return found


@pytest.mark.parametrize("name", ["float32", "quantised", "bounded"])
def test_what_a_lossy_codec_cannot_take_is_stored_losslessly(name: str) -> None:
    store, rng = new_store(name), np.random.default_rng(5)
    for step, kind in enumerate(("smooth", "nan", "infinite")):
        array = KINDS[kind]((2, 12, 17), rng)
        found = saved(store, step, step, array)
        assert (found.tobytes() == array.tobytes()) == (step > 0)
    assert store.lossy
    assert set(store.compression.instead) == {1, 2}
    assert "not finite" in store.compression.instead[1]


def test_noise_is_kept_as_it_is_by_a_bound_below_its_bits() -> None:
    store, array = new_store("bounded"), np.random.default_rng(5).normal(size=(2, 12, 17)) * 1e12
    assert saved(store, 0, 4, array).tobytes() == array.tobytes()
    assert store.compression.instead == {4: "it would take more bytes than it has"}


def test_what_is_used_is_counted() -> None:
    store, array = new_store("lossless"), _bump((2, 12, 17), np.random.default_rng(0))
    for step in range(5):
        saved(store, step % 2, step, array)
    told, data = store.compression, CODECS_BY_NAME["lossless"].encode(array)
    assert not store.lossy
    assert (told.saves, told.raw_bytes) == (5, 5 * array.nbytes)
    assert told.packed_bytes == 5 * len(memoryview(data))
    assert told.memory_bytes == 2 * (len(memoryview(data)) + 16)
    assert store.nbytes == told.memory_bytes + array.nbytes


def test_memory_beyond_the_limit_is_an_error() -> None:
    store, array = new_store("float32", limit=3400), _bump((2, 12, 17), np.random.default_rng(0))
    saved(store, 0, 0, array)
    saved(store, 1, 1, array)
    with pytest.raises(StorageError, match=r"take 4944 bytes of memory .* allows 3400: use fewer"):
        saved(store, 2, 2, array)
    saved(store, 1, 3, array)


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysz", None)
    with pytest.raises(ConfigError) as error:
        CODECS["bounded"](SECTION)
    assert str(error.value) == (
        'snapshots.codec = "bounded": pysz is not installed: '
        "pip install 'burgers_adjoint[codecs]' brings it along"
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"codec": "bound"}, 'codec = "bound", did you mean bounded?: expected one of "float32"'),
        ({"codec": "quantised"}, "tolerance is not set: expected the largest error of a point"),
        ({"codec": "bounded"}, "tolerance is not set: expected the largest error of a point"),
        ({"codec": "bounded", "tolerance": 0.0}, "snapshots.tolerance = 0.0: expected a number >"),
        ({"codec": "bounded", "tolerance": float("nan")}, "snapshots.tolerance = nan: expected"),
        ({"tolerance": 1e-6}, 'tolerance = 1e-06: expected none, as snapshots.codec = "none"'),
        (
            {"codec": "bounded", "tolerance": 1e-6, "gradient_error": 1e-5},
            "tolerance = 1e-06: expected none, as snapshots.gradient_error = 1e-05 finds it",
        ),
        ({"gradient_error": 1e-5}, "gradient_error = 1e-05: expected none, as snapshots.codec = "),
        (
            {"codec": "float32", "tolerance_kind": "absolute"},
            'tolerance_kind = "absolute": expected none, as snapshots.codec = "float32"; set snap',
        ),
    ],
)  # fmt: skip
def test_wrong_keys_are_said(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_dict({"snapshots": section})
    assert message in str(error.value)


class Halved(Codec):
    """Keeps the upper half of each number."""

    name = "halved"
    error = "2e-6 of the value"

    def __init__(self, section: Snapshots) -> None:
        assert section.codec in ("halved", "none")

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        return 4 * int(np.prod(shape))

    def encode(self, array: np.ndarray) -> bytes:
        return (array.reshape(-1).view(np.uint64) >> 32).astype(np.uint32).tobytes()

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        bits = np.frombuffer(data, np.uint32).astype(np.uint64) << 32
        out[...] = bits.view(np.float64).reshape(out.shape)


def test_a_codec_of_ones_own_is_one_line() -> None:
    CODECS.add("halved", Halved)
    try:
        sections = {"grid": {"nx": 13, "ny": 11}, "time": {"steps": 9}}
        found = []
        for codec in ("none", "halved"):
            with Problem({**sections, "snapshots": {"codec": codec}}, MPI.COMM_SELF) as problem:
                found.append(problem.value_and_gradient()[1]["initial"])
        assert 0 < np.abs(found[1] - found[0]).max() < 1e-5 * np.abs(found[0]).max()
    finally:
        CODECS.remove("halved")

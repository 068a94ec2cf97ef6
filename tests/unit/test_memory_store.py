import pytest

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.memory import MemoryStore

Buffer = list[float]


def new_buffer() -> Buffer:
    return [0.0, 0.0]


def filled(values: Buffer, store: MemoryStore[Buffer], slot: int, step: int) -> None:
    def fill(buffer: Buffer) -> None:
        buffer[:] = values

    store.save(slot, step, fill)


def loaded(store: MemoryStore[Buffer], slot: int, step: int) -> Buffer:
    values: Buffer = []
    store.load(slot, step, values.extend)
    return values


def test_what_is_saved_is_loaded_as_often_as_wanted() -> None:
    store = MemoryStore(new_buffer, 2)
    filled([1.0, 2.0], store, 0, 5)
    filled([3.0, 4.0], store, 1, 7)
    assert loaded(store, 0, 5) == loaded(store, 0, 5) == [1.0, 2.0]
    assert loaded(store, 1, 7) == [3.0, 4.0]


def test_the_caller_is_never_aliased() -> None:
    store = MemoryStore(new_buffer, 1)
    state = [1.0, 2.0]
    filled(state, store, 0, 5)
    state[0] = -1.0
    assert loaded(store, 0, 5) == [1.0, 2.0]
    loaded(store, 0, 5)[1] = -2.0
    assert loaded(store, 0, 5) == [1.0, 2.0]


def test_buffers_are_made_once() -> None:
    made: list[Buffer] = []

    def counted() -> Buffer:
        made.append(new_buffer())
        return made[-1]

    store = MemoryStore(counted, 3)
    for step in range(20):
        filled([float(step), 0.0], store, step % 3, step)
    assert len(made) == 3
    assert sorted(buffer[0] for buffer in made) == [17.0, 18.0, 19.0]


def test_a_slot_is_used_again_after_free_and_without_it() -> None:
    store = MemoryStore(new_buffer, 1)
    filled([1.0, 1.0], store, 0, 1)
    filled([2.0, 2.0], store, 0, 2)
    with pytest.raises(SnapshotError, match=r"^slot 0 holds step 2, not step 1$"):
        loaded(store, 0, 1)
    store.free(0)
    with pytest.raises(SnapshotError, match=r"^slot 0 is empty: it does not hold step 2$"):
        loaded(store, 0, 2)
    with pytest.raises(SnapshotError, match=r"^slot 0 is empty: there is nothing to free$"):
        store.free(0)
    filled([3.0, 3.0], store, 0, 3)
    assert loaded(store, 0, 3) == [3.0, 3.0]


def test_a_save_that_fails_leaves_the_slot_empty() -> None:
    store = MemoryStore(new_buffer, 1)
    filled([1.0, 1.0], store, 0, 4)

    def fail(buffer: Buffer) -> None:
        buffer[0] = 9.0
        raise RuntimeError("half written")

    with pytest.raises(RuntimeError, match="half written"):
        store.save(0, 4, fail)
    with pytest.raises(SnapshotError, match="slot 0 is empty: it does not hold step 4"):
        loaded(store, 0, 4)


@pytest.mark.parametrize("slot", [-1, 2])
def test_a_slot_that_is_not_there(slot: int) -> None:
    store = MemoryStore(new_buffer, 2)
    message = f"^there is no slot {slot}: the store has 2$"
    with pytest.raises(SnapshotError, match=message):
        filled([0.0, 0.0], store, slot, 0)
    with pytest.raises(SnapshotError, match=message):
        loaded(store, slot, 0)
    with pytest.raises(SnapshotError, match=message):
        store.free(slot)


def test_bytes_are_those_that_the_buffers_tell() -> None:
    assert MemoryStore(lambda: memoryview(bytearray(24)), 5).nbytes == 120
    assert MemoryStore(new_buffer, 5).nbytes == 0


def test_a_closed_store_says_so() -> None:
    store = MemoryStore(lambda: memoryview(bytearray(24)), 5)
    store.close()
    assert store.nbytes == 0
    with pytest.raises(SnapshotError, match="slot 3 is gone: the store is closed"):
        store.free(3)
    store.close()

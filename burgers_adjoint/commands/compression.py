"""What the summary tells of encoded snapshots."""

from burgers_adjoint.assembly.encoding import error_bound
from burgers_adjoint.assembly.stores import Store
from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.output.summary import Compressed
from burgers_adjoint.parallel.agreement import Comm, largest, of_every_rank, total
from burgers_adjoint.snapshots.compressed import CompressedStore


def compressed(comm: Comm, section: Snapshots, store: Store) -> Compressed | None:
    """What a store has encoded, on all ranks; None where it keeps snapshots as they are.

    Collective.
    """
    if not isinstance(store, CompressedStore):
        return None
    told, codec = store.compression, store.codec
    raw, packed = total(comm, told.raw_bytes), total(comm, told.packed_bytes)
    reasons: dict[int, str] = {}
    for of_rank in reversed(of_every_rank(comm, told.instead)):
        reasons |= of_rank
    return Compressed(
        codec=codec.name,
        lossless=codec.lossless,
        error_bound=error_bound(section, codec),
        ratio=raw / packed if packed else 1.0,
        snapshots=told.saves,
        raw_bytes=raw,
        packed_bytes=packed,
        memory_bytes=largest(comm, told.memory_bytes),
        instead=[f"step {step}: {reasons[step]}" for step in sorted(reasons)],
        encode=largest(comm, told.seconds_encode),
        decode=largest(comm, told.seconds_decode),
    )

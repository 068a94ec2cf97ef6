"""What the summary tells of encoded snapshots."""

from burgers_adjoint.assembly.encoding import encoded_part
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.stores import Store
from burgers_adjoint.output.summary import Compressed
from burgers_adjoint.parallel.agreement import largest, of_every_rank, total
from burgers_adjoint.planning.checkpointing import Checkpointing


def compressed(
    checkpointing: Checkpointing, store: Store, watch: LossyError | None = None
) -> Compressed | None:
    """What a store has encoded, on all ranks; None where it keeps snapshots as they are.

    Collective.

    Args:
        checkpointing: has made the store.
        store: of a run that has ended.
        watch: has seen it, and estimates the error of its gradient.
    """
    encoding, part = checkpointing.stores.encoding, encoded_part(store)
    if encoding is None or part is None:
        return None
    comm = checkpointing.stores.comm
    told, codec = part.compression, part.codec
    raw, packed = total(comm, told.raw_bytes), total(comm, told.packed_bytes)
    reasons: dict[int, str] = {}
    for of_rank in reversed(of_every_rank(comm, told.instead)):
        reasons |= of_rank
    if not codec.even:
        watch = None
    estimate = None if watch is None else watch.estimate()
    seconds = 0.0 if watch is None else largest(comm, watch.seconds)
    return Compressed(
        codec=codec.name,
        lossless=codec.lossless,
        error_bound=encoding.error_bound,
        tolerance=encoding.tolerance,
        ratio=raw / packed if packed else 1.0,
        snapshots=told.saves,
        raw_bytes=raw,
        packed_bytes=packed,
        memory_bytes=largest(comm, told.memory_bytes),
        instead=[f"step {step}: {reasons[step]}" for step in sorted(reasons)],
        encode=largest(comm, told.seconds_encode),
        decode=largest(comm, told.seconds_decode),
        gradient_error=estimate,
        estimate=seconds,
    )

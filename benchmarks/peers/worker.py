"""The process of one peer: makes it and does what lines of JSON on standard input ask for.

    python -m benchmarks.peers.worker PEER FOLDER CPU CLOCK

The first answer has the peer's name and variants, the others what `Worker` asks for; what libraries
print goes to standard error.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.case import load_case, save_result

# Read by libraries when they are imported; one processor is all that the process has besides.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def main(name: str, folder: str, cpu: str, clock: str) -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")

    os.sched_setaffinity(0, {int(cpu)})
    os.environ |= ONE_THREAD
    seconds = getattr(time, clock)
    peer = importlib.import_module(f"benchmarks.peers.{name}").make(*load_case(Path(folder)))
    variants = {"primal": list(peer.primal), "gradient": list(peer.gradient)}
    answer({"name": peer.name, "variants": variants})
    for line in sys.stdin:
        asked = json.loads(line)
        call = getattr(peer, asked["what"])[asked["variant"]]
        if "file" in asked:
            save_result(Path(asked["file"]), call())
            answer({"saved": asked["file"]})
        else:
            start = seconds()
            for _ in range(asked["repeats"]):
                call()
            answer({"seconds": seconds() - start})


if __name__ == "__main__":
    main(*sys.argv[1:])

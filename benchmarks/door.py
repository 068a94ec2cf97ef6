"""What asking by Python costs over the sweeps themselves, on the default problem.

    python -m benchmarks.door [--calls N]

Calls of `Problem.value_and_gradient` in turn with reversals of the same case, whose steps it takes;
the first of both do not count. Prints the medians, their ratio, and what many calls have left
behind of memory and open files.
"""

import argparse
import os
import time

import numpy as np
import psutil

import burgers_adjoint as ba
from burgers_adjoint.assembly.runs import reverse


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    calls = parser.parse_args().calls
    process = psutil.Process()
    with ba.Problem() as problem:
        m = problem.controls()
        problem.value_and_gradient(m)
        case, checkpointing = problem.case, problem.checkpointing
        store = checkpointing.store(checkpointing.schedule())
        asked, swept = [], []
        for call in range(calls):
            if call == 50:
                memory, files = process.memory_info().rss, len(os.listdir("/proc/self/fd"))
            schedule = checkpointing.schedule()
            times = [time.process_time()]
            reverse(case, schedule, store)
            times.append(time.process_time())
            problem.value_and_gradient(m)
            times.append(time.process_time())
            swept.append(times[1] - times[0])
            asked.append(times[2] - times[1])
        store.close()
        grown = process.memory_info().rss - memory
        opened = len(os.listdir("/proc/self/fd")) - files
    ratio = np.median(np.array(asked) / np.array(swept))
    print(
        f"sweeps {np.median(swept) * 1e3:.2f} ms, value_and_gradient {np.median(asked) * 1e3:.2f}"
    )
    print(f"ratio {ratio:.3f}; after {calls} calls {grown / 2**20:.2f} MiB and {opened} files more")


if __name__ == "__main__":
    main()

"""Kernels that do something with each entry of views: how they are written and started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burgers_adjoint.devices.device import Device
from burgers_adjoint.devices.view import RANK, View, padded

WIDEST, NARROWEST = 256, 32  # threads of a block
BLOCKS_PER_PROCESSOR = 16

KERNEL = """\
ENTRY void {name}(int blocks_x, int blocks_y, int threads, int shared_doubles,
    {given}) {{
  FOR_BLOCKS(bx, by) {{
    {before}
    {{ FOR_THREADS(t) {{
      {prepare}
      for (int64 row = by; row < n0 * n1 * n2; row += blocks_y) {{
        const int64 k = row % n2, j = row / n2 % n1, i = row / (n2 * n1);
        {rows}
        for (int64 c = (int64)bx * threads + t; c < n3; c += (int64)blocks_x * threads) {{
          const int64 number = row * n3 + c;
          (void)number;
          {entry}
        }}
      }}
      {finish}
    }} }}
    {after}
  }}
}}
"""


def kernel(
    name: str,
    operands: Sequence[str],
    parameters: Sequence[str],
    body: str,
    before: str = "",
    prepare: str = "",
    finish: str = "",
    after: str = "",
) -> str:
    """Write a kernel that goes over the entries of views of one shape.

    Args:
        name: of it.
        operands: declared pointers, such as "double* out"; in the body they are those of entries.
        parameters: declarations of what else it is given, after the operands.
        body: what is done with each entry, whose number in C order is `number`.
        before, after: what a block does before and after that, with barriers of its own.
        prepare, finish: what a thread does before and after it.
    """
    given = [", ".join(f"int64 n{axis}" for axis in range(RANK))]
    rows, entry = [], []
    for k, operand in enumerate(operands):
        kind, variable = operand.rsplit(" ", 1)
        given.append(f"{kind} b{k}, " + ", ".join(f"int64 s{k}_{axis}" for axis in range(RANK)))
        rows.append(f"{kind} r{k} = b{k} + i * s{k}_0 + j * s{k}_1 + k * s{k}_2;")
        entry.append(f"{kind} {variable} = r{k} + c * s{k}_3;")
    text = KERNEL.format(
        name=name,
        given=",\n    ".join([*given, *parameters]),
        before=before,
        prepare=prepare,
        rows="\n        ".join(rows),
        entry="\n          ".join([*entry, body]),
        finish=finish,
        after=after,
    )
    return "".join(f"{line}\n" for line in text.splitlines() if line.strip())


def start(
    device: Device,
    source: str,
    name: str,
    operands: Sequence[tuple[int, View]],
    arguments: Sequence[Any],
    shared_bytes: int = 0,
) -> None:
    """Start such a kernel on the main stream.

    Args:
        device: where.
        source, name: of it; see `kernel`.
        operands: address of an array and which entries, one for each, of one shape with at least
            one entry that `view.padded` can bring to `RANK` axes.
        arguments: what else it is given; see `Device.launch`.
        shared_bytes: of a block.
    """
    axes = padded(*(view for _, view in operands))
    assert axes is not None
    shape, strides = axes
    given: list[Any] = [np.int64(n) for n in shape]
    for (address, view), steps in zip(operands, strides, strict=True):
        given.append(np.uint64(address + view.offset * 8))
        given += [np.int64(step) for step in steps]
    n_rows, n_columns = shape[0] * shape[1] * shape[2], shape[3]
    threads = NARROWEST
    while threads < min(WIDEST, n_columns):
        threads *= 2
    most = device.n_processors * BLOCKS_PER_PROCESSOR
    across = min(-(-n_columns // threads), most)
    blocks = across, min(n_rows, max(1, most // across))
    function = device.function(source, name, shared_bytes)
    device.launch(function, blocks, threads, shared_bytes, [*given, *arguments])

"""A second backend: formulas written down as C, compiled by the system's compiler.

As plain as can be, a point at a time: it shows that the seam is real, and its bits are those that
any other backend has to have.
"""

import ctypes
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.kernels.formula import Traced
from burgers_adjoint.kernels.programs import Kind, Row
from burgers_adjoint.kernels.tile_layout import LINE
from burgers_adjoint.stepping.backend import Processor

# -ffp-contract=off: what is fused says so, nothing else may be
FLAGS = ("-O2", "-ffp-contract=off", "-fno-fast-math", "-mfma", "-shared", "-fPIC")
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}

SWEEP = """
typedef long long word;
%s
void sweep(const word *levels, word n_levels, word n_columns, word *entries, word n_entries,
           const word *origins, const word *which, const word *offsets, const double *numbers,
           word n_numbers, word pitch, const word *waves) {
  for (word k = 0; k < n_entries; k++) entries[k] = origins[which[k]] + offsets[k];
  for (word wave = waves[0]; wave < waves[1]; wave++)
    for (word q = 0; q < n_levels; q++) {
      const word *level = levels + q * n_columns;
      word r = wave - level[0], inside = level[17];
      if (r < level[1] || r >= level[6]) continue;
      word variant = r >= level[3] && r < level[4] ? 0 : r >= level[2] && r < level[5] ? 1 : 2;
      if (r == level[7] || r == level[8]) inside &= ~(255LL << 16);
      const double *c = numbers + level[15] * n_numbers;
      const word *s = entries + level[12 + variant];
      word n = level[16] * 8;
      switch (level[9 + variant]) {
%s
      }
    }
}
"""


class Text(Traced):
    """A value that is a variable in C."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines, self.name = lines, name

    def emit(self, operation: str, *operands: Any) -> "Text":
        named = [one.name if isinstance(one, Text) else float(one).hex() for one in operands]
        if operation in SIGNS:
            value = f"({named[0]}) {SIGNS[operation]} ({named[1]})"
        elif operation == "neg":
            value = f"-({named[0]})"
        else:
            value = f"__builtin_{operation}({', '.join(named)})"
        name = f"t{len(self.lines)}"
        self.lines.append(f"double {name} = {value};")
        return Text(self.lines, name)


def written(number: int, kind: Kind) -> tuple[str, str]:
    """C of one kind: a function for a row, and its case in the sweep."""
    places, n_entries = {}, 0
    for stream, n_fields in kind.fields.items():
        places[stream] = n_entries
        n_entries += 1 + n_fields

    def point(row: Row, east: int | None = 0) -> str:
        place = places[row.stream]
        base = f"s[{place + 1 + row.field}]"
        if east is None:
            return f"*(double *)({base} + (r + ({row.north})) * 8)"
        line = f"((r + ({row.north})) & s[{place}]) * pitch"
        return f"*(double *)({base} + {line} + (i + ({east})) * 8)"

    lines: list[str] = []
    points = []
    for k, (row, east) in enumerate(kind.points):
        lines.append(f"double p{k} = {point(row, east)};")
        points.append(Text(lines, f"p{k}"))
    constants = [Text(lines, f"c[{k}]") for k in range(kind.n_numbers)]
    outputs = {
        row: value.name if isinstance(value, Text) else float(value).hex()
        for row, value in zip(kind.outputs, kind.formula(constants, points), strict=True)
    }
    for fix, row in kind.fixed_rows():
        new, there = outputs[row], point(Row(fix.other, row.field)) if fix.other else ""
        if fix.how == "add":
            lines.append(f"if (!in) {there} += {new};")
        other = {"keep": there, "add_here": f"({point(row)} + {new})"}.get(fix.how, "0.0")
        lines.append(f"double o{row.field}_{row.stream} = in ? {new} : {other};")
        outputs[row] = f"o{row.field}_{row.stream}"
    lines += [f"{point(row)} = {value};" for row, value in outputs.items()]
    body = "\n    ".join(lines)
    function = f"""
static void kind{number}(word r, const double *c, const word *s, word pitch, word n, word inside) {{
  for (word i = 0; i < n; i++) {{
    word lanes = inside >> 16 & 255;
    if (i < {LINE}) lanes &= inside;
    if (i >= n - {LINE}) lanes &= inside >> 8;
    word in = lanes >> i % {LINE} & 1;
    (void)in;
    {body}
  }}
}}"""
    return function, f"case {number}: kind{number}(r, c, s, pitch, n, inside); break;"


class CompiledC(Processor):
    """Sweeps in C, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.compiled: list[str] = []

    def compile(self, kinds: Sequence[Kind]) -> Any:
        functions, cases = zip(*(written(k, kind) for k, kind in enumerate(kinds)), strict=True)
        text = SWEEP % ("\n".join(functions), "\n".join(cases))
        base = self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        base.with_suffix(".c").write_text(text)
        command = ["cc", *FLAGS, f"{base}.c", "-o", f"{base}.so", "-lm"]
        subprocess.run(command, check=True, timeout=50)
        self.compiled.append(base.name)
        run = ctypes.CDLL(f"{base}.so").sweep

        def kernel(
            levels: np.ndarray, entries: np.ndarray, origins: np.ndarray, which: np.ndarray,
            offsets: np.ndarray, numbers: np.ndarray, pitch: np.int64, waves: np.ndarray,
        ) -> None:  # fmt: skip
            def at(array: np.ndarray) -> ctypes.c_void_p:
                return ctypes.c_void_p(array.ctypes.data)

            word = ctypes.c_longlong
            run(
                at(levels), word(len(levels)), word(levels.shape[1]), at(entries),
                word(len(entries)), at(origins), at(which), at(offsets), at(numbers),
                word(numbers.shape[1]), word(int(pitch)), at(waves),
            )  # fmt: skip

        return kernel

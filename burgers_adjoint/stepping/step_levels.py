"""The levels of steps that share a sweep, forwards and backwards."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise

from burgers_adjoint.kernels.programs import Buffer, Fix, Kind, Level, copying
from burgers_adjoint.stepping.runge_kutta import StepKinds

WORKING = "working"  # alias of what is read first and written last


class StepLevels:
    """Makes the levels of sweeps.

    Args:
        kinds: of the equation's steps.
        split: whether each level is a sweep of its own, between which halos are exchanged: then
            rows in between lie in whole arrays, and no level reaches beyond the tile.
    """

    def __init__(self, kinds: StepKinds, split: bool = False) -> None:
        self.kinds, self.split = kinds, split
        self.equation = kinds.equation
        self.reach = kinds.equation.reach
        self._made: dict[Hashable, Kind] = {}

    def forward(
        self,
        states: Sequence[Buffer],
        ahead: bool = False,
        stages: Mapping[int, Buffer] | None = None,
    ) -> list[Level]:
        """Levels that step from each state to the next one.

        Args:
            states: the first one an array with as many layers of halo as levels read.
            ahead: whether all of them are arrays, whose rows are fetched into the cache.
            stages: where the states of the first step's later stages go.
        """
        n_stages, levels = self.kinds.n_stages, list[Level]()
        n_levels = (len(states) - 1) * n_stages
        for step, (start, end) in enumerate(pairwise(states)):
            state, sums = start, dict[str, Buffer]()
            for stage in range(n_stages):
                last = stage == n_stages - 1
                number = step * n_stages + stage
                soon = [("state", self.reach + 1)] if number == 0 else []
                if ahead and last:
                    soon.append(("next", 2))
                kind = self._kind("forward", stage, tuple(soon))
                to = (
                    end
                    if last
                    else (stages or {}).get(stage + 1) or self._new("state", step, stage)
                )
                bound = {"state": state, "start": start, "next": to, "held": states[0]}
                extent = n_levels - 1 - number
                levels.append(self._level(kind, bound, sums, step, stage, number, extent))
                state = to
        return levels

    def aside(self, source: Buffer, target: Buffer) -> list[Level]:
        """Levels of a step of one stage whose target may be its source."""
        between = self._new("state", 0, 0)
        levels = self.forward([source, between])
        fixes = self.kinds.fixes(Fix("next", "keep", "held"))
        kind = copying("next", self.kinds.n_fields, fixes)
        bound = {"from": between, "next": target, "held": source}
        return [*levels, Level(kind, bound, margin=self.reach)]

    def adjoint(
        self,
        cotangent: Buffer,
        states: Sequence[Buffer],
        stages: Mapping[int, Buffer] | None = None,
    ) -> list[Level]:
        """Levels that take the cotangent back over steps, in place.

        Args:
            cotangent: an array.
            states: at the starts of the steps, the last one first: arrays.
            stages: the states of a single step's later stages, if they are at hand.
        """
        n_stages = self.kinds.n_stages
        n_levels = len(states) * n_stages
        end = self._new("end", 0, 0)
        kind = copying("end", self.kinds.n_fields, self.kinds.fixes(Fix("end", "zero")))
        extent = self._extent(n_levels)
        levels = [Level(kind, {"from": cotangent, "end": end}, extent, margin=self.reach)]
        for step, start in enumerate(states):
            found = [start, *(stages[s] for s in range(1, n_stages))] if stages else [start]
            if stages is None:
                levels += self._recompute(start, step, n_levels, found)
            final, sums, rates = step == len(states) - 1, dict[str, Buffer](), end
            for stage in reversed(range(n_stages)):
                number = step * n_stages + n_stages - 1 - stage
                soon = (("state", self.reach + 1),) if stage == 0 else ()
                to = self._new("rates", step, stage)
                if final and stage == 0:
                    to = cotangent
                kind = self._kind("backward", stage, soon, final and stage == 0)
                bound = {
                    "state": found[stage], "rates": rates, "end": end, "next": to,
                    "cotangent": cotangent,
                }  # fmt: skip
                row = self._backward_row(step, stage)
                level = self._level(kind, bound, sums, step, stage, row, n_levels - 1 - number)
                self._count_own_rows(level)
                levels.append(level)
                rates = to
            end = rates
        return levels

    def tangent(self, state: Buffer, perturbation: Buffer, out: Buffer) -> list[Level]:
        """Levels of the tangent of one step, from an array to another one."""
        n_stages, levels, sums = self.kinds.n_stages, list[Level](), dict[str, Buffer]()
        here, d_here = state, perturbation
        for stage in range(n_stages):
            to = self._new("state", 0, stage)
            d_to = out if stage == n_stages - 1 else self._new("d_state", 0, stage)
            bound = {
                "state": here, "start": state, "next": to,
                "d_state": d_here, "d_start": perturbation, "d_next": d_to,
                "held": state, "d_held": perturbation,
            }  # fmt: skip
            for name, n_fields in self.equation.varied.items():
                bound[f"d_{name}"] = Buffer(n_fields, self._key("varied", name, 0, stage))
            kind = self._kind("tangent", stage)
            levels.append(self._level(kind, bound, sums, 0, stage, stage, n_stages - 1 - stage))
            here, d_here = to, d_to
        return levels

    def n_layers(self, n_steps: int, adjoint: bool = False) -> int:
        """Layers of halo that steps in one sweep read of the state at the start of the first."""
        levels = 1 if self.split else n_steps * self.kinds.n_stages
        if adjoint and not self.split:
            levels += self.kinds.n_stages - 1
        return levels * self.reach

    def _recompute(
        self, start: Buffer, step: int, n_levels: int, found: list[Buffer]
    ) -> list[Level]:
        """Levels that compute the states of a step's later stages, which are appended."""
        n_stages, levels, sums = self.kinds.n_stages, list[Level](), dict[str, Buffer]()
        of_last = n_levels - step * n_stages  # what the last stage's adjoint reads of its state
        for stage in range(n_stages - 1):
            to = self._new("state", step, stage)
            bound = {"state": found[-1], "start": start, "next": to, "held": start}
            soon = (("state", self.reach + 1),) if stage == 0 else ()
            kind = self._kind("recompute", stage, soon)
            row = self._backward_row(step, stage, recomputed=True)
            extent = of_last + n_stages - 2 - stage
            levels.append(self._level(kind, bound, sums, step, stage, row, extent))
            found.append(bound["next"])
        return levels

    def _backward_row(self, step: int, stage: int, recomputed: bool = False) -> int:
        """Row of the numbers: for each step those of stages computed anew, then of the adjoint."""
        n_stages = self.kinds.n_stages
        return step * 2 * n_stages + (stage if recomputed else n_stages + stage)

    def _level(
        self, kind: Kind, bound: Mapping[str, Buffer], sums: dict[str, Buffer], step: int,
        stage: int, numbers: int, extent: int,
    ) -> Level:  # fmt: skip
        """A level whose streams are bound by their names."""
        buffers = dict[str, Buffer]()
        equation = self.equation
        for stream in kind.fields:
            if stream in bound:
                buffers[stream] = bound[stream]
            elif stream in equation.streams:
                n_fields = equation.streams[stream]
                buffers[stream] = Buffer(n_fields, self._key("data", stream, step, stage))
            elif stream in equation.profiles:
                along_x = equation.profiles[stream] == "x"
                buffers[stream] = Buffer(
                    1, ("profile", stream), n_rows=1 if along_x else 0, column=not along_x
                )
            elif stream.removeprefix("d_") in equation.varied:
                name = stream.removeprefix("d_")
                key = self._key("density", name, step, stage)
                buffers[stream] = Buffer(equation.varied[name], key)
            else:
                if stream not in sums:
                    sums[stream] = self._new(stream, step, -1)
                buffers[stream] = sums[stream]
        return Level(kind, buffers, self._extent(extent), numbers, self.reach)

    def _count_own_rows(self, level: Level) -> None:
        """Let rows that are not the tile's own add nothing to the gradient."""
        level.outside = {
            stream: Buffer(buffer.n_fields, n_rows=1)
            for stream, buffer in level.bound.items()
            if stream.startswith("d_")
        }

    def _key(self, what: str, name: str, step: int, stage: int) -> Hashable:
        """Key of an array that may be another one for every stage."""
        return (what, name, step, stage) if self.equation.changing else (what, name, 0, 0)

    def _extent(self, n_levels: int) -> int:
        return 0 if self.split else n_levels * self.reach

    def _new(self, name: str, step: int, stage: int) -> Buffer:
        """Memory for rows in between."""
        key = ("between", name, step, stage) if self.split else None
        return Buffer(self.kinds.n_fields, key)

    def _kind(
        self,
        role: str,
        stage: int,
        ahead: tuple[tuple[str, int], ...] = (),
        final: bool = False,
    ) -> Kind:
        """A kind of `StepKinds`, made once; kinds with the same formula and streams are one."""
        key = role, stage, ahead, final
        if key not in self._made:
            makers: dict[str, Callable[[], Kind]] = {
                "forward": lambda: self.kinds.forward(stage, ahead),
                "recompute": lambda: self.kinds.forward(stage, ahead, end=False),
                "backward": lambda: self.kinds.backward(stage, ahead, final),
                "tangent": lambda: self.kinds.tangent(stage),
            }
            kind = makers[role]()
            same = role, kind.points, kind.outputs, kind.ahead, kind.n_numbers, kind.fixes
            self._made[key] = self._made.setdefault(same, kind)
        return self._made[key]

"""Steps that are trees: every choice gives the same, its memory and its runs are as predicted."""

import random
from collections.abc import Sequence
from itertools import product

import pytest
from symbolic_tree import (
    SIZES,
    Symbol,
    SymbolicPart,
    choices,
    flat_tree,
    small_tree,
    variables,
)

from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.call_tree import (
    Part,
    Parts,
    Reversal,
    Tape,
    TreeModel,
    TreeState,
    Variables,
    site_of,
)
from burgers_adjoint.checkpointing.call_tree_check import dry_run
from burgers_adjoint.checkpointing.call_tree_choice import (
    STRATEGIES,
    Choice,
    from_toml,
    search,
    to_toml,
)
from burgers_adjoint.checkpointing.call_tree_profile import (
    ProfiledReversal,
    SiteProfile,
    TreeProfile,
    first_choice,
    peak_bytes,
    profile_of,
)
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.planning.inside import searched
from burgers_adjoint.snapshots.memory import MemoryStore

PATHS = [
    "step/advect",
    "step/diffuse",
    "step/diffuse/block",
    "step/diffuse/block/substep",
    "step/diffuse/block/mix",
    "step/react",
]


def leaves(part: Part | Parts) -> list[SymbolicPart]:
    if isinstance(part, Parts):
        return [leaf for inner in part.parts for leaf in leaves(inner)]
    assert isinstance(part, SymbolicPart)
    return [part]


def cotangent_values(tree: Parts, recorded: frozenset[str]) -> tuple[list[int], ProfiledReversal]:
    reversal = ProfiledReversal(site_of(tree), recorded)
    state, cotangent = variables(SIZES), variables(SIZES)
    reversal.reverse(state, cotangent, 3)
    return [one.value for one in cotangent.values()], reversal


def test_sites_are_named_by_paths_and_counted() -> None:
    sites = list(site_of(small_tree()).below())
    assert [site.path for site in sites] == PATHS
    assert [site.occurrences for site in sites] == [1, 1, 3, 6, 6, 1]
    # w is written by nobody: no input needs it
    assert [site.saved for site in sites] == [
        ("u", "v"), ("u", "v"), ("u", "v"), ("u", "v"), ("v",), ("u",),
    ]  # fmt: skip


@pytest.mark.parametrize("make", [small_tree, flat_tree])
def test_every_choice_gives_the_same_and_holds_what_is_predicted(make) -> None:  # type: ignore[no-untyped-def]
    step = site_of(make())
    paths = [site.path for site in step.below()]
    expected, everything = cotangent_values(make(), frozenset())
    peaks = set()
    for recorded in choices(paths):
        found, reversal = cotangent_values(make(), recorded)
        assert found == expected
        assert reversal.peak == peak_bytes(step, everything.sites, recorded)
        assert reversal._held == 0
        peaks.add(reversal.peak)
    assert len(peaks) > 1


def test_recording_a_site_spares_its_own_forward_run_whatever_else_is_chosen() -> None:
    """So seconds of sites add up: every part of a checkpointed site runs once more."""
    step = site_of(small_tree())
    sites = {site.path: site for site in step.below()}

    def runs(recorded: frozenset[str]) -> list[int]:
        tree = small_tree()
        cotangent_values(tree, recorded)
        found = leaves(tree)
        assert [one.runs["record"] for one in found] == [one.runs["adjoint"] for one in found]
        assert [one.runs["record"] for one in found] == [1, 6, 6, 1]
        return [one.runs["forward"] for one in found]

    names = ["step/advect", "step/diffuse/block/substep", "step/diffuse/block/mix", "step/react"]
    for recorded in choices(PATHS):
        extra = [path for path in PATHS if path not in recorded]
        expected = [
            sum(sites[name].occurrences for path in extra if f"{name}/".startswith(f"{path}/"))
            for name in names
        ]
        assert runs(recorded) == expected


def test_a_wrong_tape_would_show() -> None:
    class Forgetful(SymbolicPart):
        def record(self, state: Variables, n: int) -> Tape:
            super().record(state, n)
            return [Symbol(hash(self.read(state)), self.tape_bytes)]  # of after, not of before

    right = Parts("step", [SymbolicPart("a", "u", "u", 1), SymbolicPart("b", "uv", "v", 1)])
    wrong = Parts("step", [Forgetful("a", "u", "u", 1), SymbolicPart("b", "uv", "v", 1)])
    assert cotangent_values(wrong, frozenset())[0] != cotangent_values(right, frozenset())[0]


def model_of(tree: Parts, recorded: frozenset[str] = frozenset()) -> TreeModel:
    class Whole(Symbol):
        """All variables as one buffer."""

        def __init__(self) -> None:
            self.parts = variables(SIZES)
            self.nbytes = sum(SIZES.values())

        def __setitem__(self, where: object, value: object) -> None:
            assert isinstance(value, Whole)
            for name, part in self.parts.items():
                part[...] = value.parts[name]

    return TreeModel(tree, Whole, lambda state: variables(SIZES), recorded)


def start(model: TreeModel) -> TreeState:
    array = model.new_snapshot()
    return TreeState(array, array.parts)


@pytest.mark.parametrize("snapshots", [1, 2, 5])
def test_a_whole_run_gives_the_same_with_any_choice_and_schedule(snapshots: int) -> None:
    def run(recorded: frozenset[str], count: int) -> tuple[list[int], int]:
        tree = small_tree()
        model = model_of(tree)
        store = MemoryStore(model.new_snapshot, count)
        found = profile_of(model, start(model), 7, Choice(recorded, count), store)
        assert found.bytes == found.bytes_with(found.choice)
        assert found.sites["step/react"].runs == (0 if "step/react" in recorded else 7)
        assert Binomial(7, count).predicted_forward_steps * 6 <= leaves(tree)[1].runs["forward"]
        return [one.runs["record"] for one in leaves(tree)], found.peak

    all_checkpointed = run(frozenset(), 7)
    for recorded in (frozenset(), frozenset(PATHS[:2]), frozenset(PATHS)):
        assert run(recorded, snapshots)[0] == all_checkpointed[0]


def profile_with(seconds: dict[str, float], tapes: dict[str, int], step, n_steps, choice):  # type: ignore[no-untyped-def]
    sites = {
        site.path: SiteProfile(
            1, seconds[site.path], sum(SIZES[name] for name in site.saved), tapes[site.path]
        )
        for site in step.below()
    }
    own = sum(cost for path, cost in seconds.items() if path not in choice.recorded)
    total = 50.0 + own + 0.3 * least_forward_steps(n_steps, choice.snapshots)
    peak = peak_bytes(step, sites, choice.recorded)
    return TreeProfile(choice, total, n_steps, step, sites, 200, 0.3, peak)


@pytest.mark.parametrize("seed", range(12))
def test_strategies_come_near_the_best_of_all_choices(seed: int) -> None:
    numbers = random.Random(seed)
    step, n_steps = site_of(small_tree()), 40
    seconds = {path: numbers.uniform(0.1, 20.0) for path in PATHS}
    tapes = {path: numbers.choice([10, 60, 150, 400, 900]) for path in PATHS}
    nothing = frozenset[str]()
    first = profile_with(seconds, tapes, step, n_steps, Choice(nothing, 1))
    for more in (0, 300, 1500, 3000, 8000):
        budget = first.bytes + more

        def measure(choice: Choice) -> TreeProfile:
            return profile_with(seconds, tapes, step, n_steps, choice)

        best = min(
            first.seconds_with(choice)
            for recorded, snapshots in product(choices(PATHS), range(1, 40))
            if first.bytes_with(choice := Choice(recorded, snapshots)) <= budget
        )
        found = []
        for strategy in STRATEGIES.values():
            rounds = search(measure, measure(first.start(budget)), strategy, budget)
            for one in rounds:
                assert one.profile.bytes <= budget
                assert one.seconds == pytest.approx(one.profile.seconds)
            found.append(min(one.profile.seconds for one in rounds))
        assert min(found) <= 1.05 * best


def test_a_machine_that_changes_its_speed_changes_no_prediction() -> None:
    numbers = random.Random(3)
    step, n_steps = site_of(small_tree()), 40
    seconds = {path: numbers.uniform(5.0, 20.0) for path in PATHS}
    tapes = dict.fromkeys(PATHS, 60)

    def measure(tried: Sequence[Choice]) -> list[TreeProfile]:
        slower = numbers.uniform(1.0, 3.0)
        found = [profile_with(seconds, tapes, step, n_steps, choice) for choice in tried]
        for one in found:
            one.seconds *= slower
            one.step_seconds *= slower
            for site in one.sites.values():
                site.seconds *= slower
        return found

    found = searched(measure, Choice(frozenset(), 4), budget=4000)
    lengths = [len(rounds) for rounds in found.rounds.values()]
    assert max(lengths) > 2
    for rounds in found.rounds.values():
        for one in rounds:
            assert one.seconds == pytest.approx(one.profile.seconds)
        assert rounds[0].profile is found.first
        assert rounds[-1].profile.seconds < rounds[0].profile.seconds


def test_dry_run_finds_nothing_wrong_with_a_right_tree() -> None:
    model = model_of(small_tree())
    dry_run(model.step, start(model), variables(SIZES))


class Peeping(SymbolicPart):
    """Reads w, too, without saying so."""

    def read(self, state: Variables) -> tuple[int, ...]:
        return (*super().read(state), state["w"].value)


class Scribbling(SymbolicPart):
    """Writes v through a back door, without saying so."""

    def __init__(self, behind: Variables) -> None:
        super().__init__("mix", "u", "u", 50)
        self.behind = behind

    def forward(self, state: Variables, n: int) -> None:
        super().forward(state, n)
        self.behind["v"][...] = 17


class Closing(SymbolicPart):
    """Knows u from elsewhere, and does not say that it reads it."""

    def __init__(self, behind: Variables) -> None:
        super().__init__("mix", "w", "v", 50)
        self.behind = behind

    def read(self, state: Variables) -> tuple[int, ...]:
        return (self.behind["u"].value,)


class Rounding(SymbolicPart):
    """Does something else when it records."""

    def record(self, state: Variables, n: int) -> Tape:
        tape = super().record(state, n + 1)
        return tape


class Reaching(SymbolicPart):
    """Its adjoint changes what its forward run has nothing to do with."""

    def adjoint(self, tape: Tape, cotangent: Variables, n: int) -> None:
        super().adjoint(tape, cotangent, n)
        cotangent["w"][...] = 1


IN_THE_TREE = "step/diffuse/mix"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            Peeping("mix", "u", "u", 50),
            f"the forward run of {IN_THE_TREE} asks for w: it says to read u and to write u",
        ),
        (
            SymbolicPart("mix", "ux", "u", 50),
            f"{IN_THE_TREE} reads x: the state has u, v, w",
        ),
        (
            SymbolicPart("mix", "u", "uy", 50),
            f"{IN_THE_TREE} writes y: the state has u, v, w",
        ),
        (Scribbling, f"{IN_THE_TREE} changes v: it says to write u"),
        (
            Closing,
            f"{IN_THE_TREE} leaves another v when it records than when it does not, or it depends "
            "on more than the w that it says to read",
        ),
        (
            Rounding("mix", "u", "u", 50),
            f"{IN_THE_TREE} leaves another u when it records than when it does not, or it depends "
            "on more than the u that it says to read",
        ),
        (
            Reaching("mix", "u", "u", 50),
            f"the adjoint of {IN_THE_TREE} asks for w: it says to read u and to write u",
        ),
    ],
)
def test_dry_run_names_a_part_that_does_not_do_what_it_says(
    part: SymbolicPart | type, message: str
) -> None:
    model = model_of(flat_tree())
    state = start(model)
    wrong = part(state.variables) if isinstance(part, type) else part
    first = SymbolicPart("first", "uv", "uv", 9)
    tree = Parts("step", [first, Parts("diffuse", [wrong], times=2)])
    with pytest.raises(ConfigError) as caught:
        dry_run(site_of(tree), state, variables(SIZES))
    assert str(caught.value) == f"{message} (run 1 of 2)"


def test_dry_run_finds_a_tape_that_is_larger_than_said() -> None:
    class Talking(SymbolicPart):
        def record(self, state: Variables, n: int) -> Tape:
            return [*super().record(state, n), Symbol(0, 8)]

    tree = Parts("step", [Talking("advect", "u", "u", 50)])
    message = r"the tape of step/advect takes 58 bytes, more than the 50 that it says$"
    with pytest.raises(ConfigError, match=message):
        dry_run(site_of(tree), start(model_of(tree)))


def test_a_choice_goes_to_a_file_and_back() -> None:
    choice = Choice(frozenset(PATHS[1:3]), 12)
    assert from_toml(to_toml(choice, PATHS, 40), PATHS) == choice


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("step/react", "step/rain"),
            "inside.toml is of another model: its step has step/rain, this one has not",
        ),
        (
            ('    "step/react",\n', ""),
            "inside.toml is of another model: this step has step/react, its has not",
        ),
        (
            ('    "step/react",\n', '    "step/react",\n    "step/diffuse",\n'),
            "inside.toml: step/diffuse is both recorded and checkpointed",
        ),
        (("snapshots = 12", "snapshots = 0"), "inside.toml: snapshots must be at least 1, not 0"),
        (("snapshots = 12", ""), "inside.toml is no choice of checkpoints: it has no snapshots"),
        (("= 12", "="), "inside.toml is no TOML: Invalid value (at line 2, column 12)"),
    ],
)
def test_a_choice_of_another_model_is_refused(change: tuple[str, str], message: str) -> None:
    text = to_toml(Choice(frozenset({"step/diffuse"}), 12), PATHS, 40).replace(*change)
    with pytest.raises(ConfigError) as caught:
        from_toml(text, PATHS, "inside.toml")
    assert str(caught.value) == message


def test_wrong_trees_and_sites_and_budgets_are_refused() -> None:
    a = SymbolicPart("a", "u", "u", 1)
    with pytest.raises(ConfigError, match=r"step has two parts of the name a: names are paths"):
        Parts("step", [a, a])
    with pytest.raises(ConfigError, match=r"step has 1 parts, 0 times: no run of it"):
        Parts("step", [a], times=0)
    model = model_of(small_tree())
    with pytest.raises(ConfigError, match=r"the step has no site step/rain: it has step/advect"):
        Reversal(model.step, {"step/rain"})
    message = r"500 bytes do not hold one snapshot and what a step takes: 1287 bytes"
    with pytest.raises(ConfigError, match=message):
        first_choice(model, start(model).variables, 9, 500)
    fitting = first_choice(model, start(model).variables, 9, 1287 + 2 * 147)
    assert fitting == Choice(frozenset(), 3)

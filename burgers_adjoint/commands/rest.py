"""The schedule of what an interruption has left to do."""

from burgers_adjoint.checkpointing.binomial import Binomial


class Rest(Binomial):
    """The least work for what remains of a reversal, whatever schedule has begun it.

    Attributes:
        memory: slots that may be in memory.
    """

    memory: int

    @property
    def memory_slots(self) -> int:
        """Slots in memory, the first ones."""
        return min(self.memory, self.slots)

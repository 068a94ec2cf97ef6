"""Results that cannot be written where they belong are saved where a resume finds them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from burgers_adjoint.errors import BurgersAdjointError, agreed_error


@contextmanager
def kept_if_not_written(save: Callable[[], None], kept: str, lost: str) -> Iterator[None]:
    """Save what was computed where the block cannot write it. Collective.

    Args:
        save: what was computed.
        kept: where it is then, in words.
        lost: what is said where it cannot be saved, before the reason.

    Raises:
        BurgersAdjointError: of the block, with where that is now.
    """
    try:
        yield
    except BurgersAdjointError as error:
        if not error.agreed:
            raise
        try:
            save()
            told = kept
        except BurgersAdjointError as another:
            told = f"{lost}: {another}"
        raise agreed_error(type(error)(f"{error}; {told}")) from error

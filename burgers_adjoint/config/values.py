"""Kinds of values that keys of several sections have."""

from typing import Annotated

from msgspec import Meta

# Beyond these, indices and step counts would no longer fit the integers of kernels and files.
Points = Annotated[int, Meta(ge=3, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**53)]
Positive = Annotated[float, Meta(gt=0)]
Text = Annotated[str, Meta(min_length=1)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]

"""Codecs that pack by compiled code."""

from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.kernels import packing
from burgers_adjoint.snapshots.codecs.lossless import Lossless
from burgers_adjoint.snapshots.codecs.quantised import Quantised


def lossless(section: Snapshots) -> Lossless:
    """The codec that keeps all bits."""
    return Lossless(packing)


def quantised(section: Snapshots) -> Quantised:
    """The codec that keeps errors within a tolerance, and is fast."""
    return Quantised(packing)

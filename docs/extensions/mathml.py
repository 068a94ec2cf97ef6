"""Writes formulas as MathML, which browsers show without a script and without the network."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging


def _formula(writer: Any, node: nodes.Element, as_block: bool) -> None:
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logging.getLogger(__name__).warning("%s", error, location=node)
    raise nodes.SkipNode


def _inline(writer: Any, node: nodes.Element) -> None:
    _formula(writer, node, as_block=False)


def _block(writer: Any, node: nodes.Element) -> None:
    _formula(writer, node, as_block=True)


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer, by the name that conf.py asks for."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

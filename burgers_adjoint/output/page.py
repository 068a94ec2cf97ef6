"""HTML pages from the templates in pages/, where Jinja2 is installed."""

import importlib.util
from pathlib import Path
from typing import Any

from burgers_adjoint.errors import ConfigError

TEMPLATES = Path(__file__).parent / "pages"


def require_packages(command: str, *names: str) -> None:
    """See that the packages of a page are there.

    Raises:
        ConfigError: naming those that are missing, and the optional group that brings them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{command} needs {' and '.join(missing)}, not installed here: "
            "pip install 'burgers_adjoint[report]'"
        )


def render(template: str, **values: Any) -> str:
    """Fill a template; all values are escaped, but for markup that says that it is."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)

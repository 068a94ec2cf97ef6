"""Sizes as people write them."""

import re

UNITS = {"B": 1} | {
    prefix + ending: base ** (power + 1)
    for ending, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate(("k" if base == 1000 else "K", "M", "G", "T"))
}


def parse_size(text: str) -> int:
    """Bytes of a size such as "2 GiB", "500 MB" or "1e9 B".

    Raises:
        ValueError: it is none, or below one byte.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    size = 0
    if match is not None and match[2] in UNITS:
        size = int(float(match[1]) * UNITS[match[2]])
    if size < 1:
        raise ValueError(f"expected a size such as 2 GiB or 500 MB, with {', '.join(UNITS)}")
    return size

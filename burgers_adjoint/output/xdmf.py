"""XDMF files: XML beside HDF5 files, by which ParaView and VTK read fields and time series.

They name datasets by file and path, and hold no numbers but shapes and times. The elements are
those of XDMF 2, which version 3 reads too: https://www.xdmf.org/index.php/XDMF_Model_and_Format
"""

from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.whole import write_text

SHARE = 0.01  # of the time, that writing the file of a growing series may take

HEAD = '<?xml version="1.0"?>\n<Xdmf Version="2.0">\n<Domain>\n'
TAIL = "</Domain>\n</Xdmf>\n"


def write(path: Path, file: str, shape: tuple[int, int], fields: Iterable[str]) -> None:
    """Write the XDMF file of one HDF5 file in the same folder.

    Args:
        path: of the XDMF file.
        file: name of the other one; /x and /y are its axes.
        shape: (ny, nx) of the fields.
        fields: paths of their datasets, such as "/state/final/u".

    Raises:
        BurgersAdjointError: it cannot be written.
    """
    write_text(path, HEAD + _grid(file, shape, fields) + TAIL)


class Series:
    """The XDMF file of a time series, of one HDF5 file a time in the same folder.

    Args:
        path: of the XDMF file.
        shape: (ny, nx) of the fields.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path, self._shape = path, shape
        self._grids: dict[str, tuple[float, str]] = {}
        self._due = 0.0

    def add(self, file: str, time: float, fields: Iterable[str]) -> None:
        """Let a file be a time of the series, in place of what it was; see `write`."""
        self._grids[file] = time, _grid(file, self._shape, fields, time)

    def write(self) -> None:
        """Write the series as it is.

        Raises:
            BurgersAdjointError: it cannot be written.
        """
        begin = perf_counter()
        grids = "".join(text for _, text in sorted(self._grids.values()))
        collection = '<Grid Name="steps" GridType="Collection" CollectionType="Temporal">\n'
        write_text(self._path, f"{HEAD}{collection}{grids}</Grid>\n{TAIL}")
        end = perf_counter()
        self._due = end + (end - begin) / SHARE

    def write_when_due(self) -> None:
        """Write it unless that was done a moment ago, or fails: whoever ends the run tries again.

        All of a long series is written each time, so that takes long and has to be rare.
        """
        if perf_counter() >= self._due:
            try:
                self.write()
            except BurgersAdjointError:
                self._due = perf_counter() + 1.0


def _grid(
    file: str, shape: tuple[int, int], fields: Iterable[str], time: float | None = None
) -> str:
    ny, nx = shape

    def item(path: str, dimensions: str) -> str:
        return (
            f'<DataItem Dimensions="{dimensions}" NumberType="Float" Precision="8" Format="HDF">'
            f"{file}:{path}</DataItem>"
        )

    lines = [f'<Grid Name="{Path(file).stem}" GridType="Uniform">']
    if time is not None:
        lines.append(f'<Time Value="{time!r}"/>')
    lines += [
        f'<Topology TopologyType="2DRectMesh" Dimensions="{ny} {nx}"/>',
        f'<Geometry GeometryType="VXVY">{item("/x", f"{nx}")}{item("/y", f"{ny}")}</Geometry>',
    ]
    for path in fields:
        values = item(path, f"{ny} {nx}")
        name = path.strip("/")
        lines.append(
            f'<Attribute Name="{name}" AttributeType="Scalar" Center="Node">{values}</Attribute>'
        )
    return "\n".join([*lines, "</Grid>\n"])

"""Make Debian's MPI, HDF5 and PETSc bindings usable in the virtual environment that runs this.

Prints the pip constraints that hold every binding, and the numpy they are built for, at Debian's
version: a copy from elsewhere would bring its own MPI or another binary interface. The virtual
environment's own pip is told to keep to them, whatever is installed later.
"""

import site
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))


def main() -> None:
    """Write the .pth file, h5py's metadata and pip's configuration, print the constraints."""
    # Debian keeps petsc4py beside each build of PETSc; `real` is double precision.
    found = sorted(Path("/usr/lib/petscdir").glob("*/*-real/lib/python3/dist-packages/petsc4py"))
    if not found:
        sys.exit("petsc4py is not below /usr/lib/petscdir although its Debian package is installed")
    # Debian's h5py has a serial and an MPI build, and takes the serial one in a process that
    # mpiexec did not start, unless H5PY_ALWAYS_USE_MPI is set.
    (SITE_PACKAGES / "debian_bindings.pth").write_text(
        f"{found[-1].parent}\nimport os; os.environ.setdefault('H5PY_ALWAYS_USE_MPI', '1')\n",
        encoding="utf-8",
    )
    site.addsitedir(str(SITE_PACKAGES))

    import h5py

    if not h5py.get_config().mpi:
        sys.exit(f"{h5py.__file__} is built without MPI")
    # Debian registers h5py under the names of its two builds, so pip would fetch another one.
    metadata = SITE_PACKAGES / f"h5py-{h5py.__version__}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: h5py\nVersion: {h5py.__version__}\n", encoding="utf-8"
    )
    (metadata / "INSTALLER").write_text("debian\n", encoding="utf-8")

    # pip splits a list at spaces, which the path of the checkout may have: a URL has none.
    constraints = Path(sys.prefix, "constraints.txt").as_uri()
    Path(sys.prefix, "pip.conf").write_text(
        f"[install]\nconstraint = {constraints}\n", encoding="utf-8"
    )
    for name in ("h5py", "mpi4py", "numpy", "petsc4py"):
        print(f"{name}=={version(name)}")


if __name__ == "__main__":
    main()

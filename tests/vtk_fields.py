"""What VTK reads from an XDMF file: `python vtk_fields.py FILE OUT` leaves it in OUT.npz.

In a process of its own, as VTK brings an HDF5 library that is not h5py's.
"""

import sys
from pathlib import Path

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkIOXdmf2 import vtkXdmfReader


def fields(path: str) -> dict[str, np.ndarray]:
    reader = vtkXdmfReader()
    reader.SetFileName(path)
    reader.UpdateInformation()
    key = vtkStreamingDemandDrivenPipeline.TIME_STEPS()
    information = reader.GetOutputInformation(0)
    times = information.Get(key) if information.Has(key) else (None,)
    found = {"times": np.array([time for time in times if time is not None])}
    for number, time in enumerate(times):
        reader.Update() if time is None else reader.UpdateTimeStep(time)
        grid = reader.GetOutputDataObject(0)
        nx, ny, nz = grid.GetDimensions()
        assert nz == 1
        found[f"{number}:x"] = vtk_to_numpy(grid.GetXCoordinates()).copy()
        found[f"{number}:y"] = vtk_to_numpy(grid.GetYCoordinates()).copy()
        points = grid.GetPointData()
        for index in range(points.GetNumberOfArrays()):
            values = points.GetArray(index)
            found[f"{number}:{values.GetName()}"] = vtk_to_numpy(values).copy().reshape(ny, nx)
    return found


if __name__ == "__main__":
    np.savez(Path(sys.argv[2]), **fields(sys.argv[1]))

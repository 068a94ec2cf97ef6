"""What the datasets of a file are, in the attributes of the CF conventions (version 1.8).

A run has no unit of length or of time: lengths, times and all that is made of them are numbers, of
the unit "1". The standard names of CF stand for metres and seconds, so there is none here.
"""

from posixpath import split

ROOT = {
    "Conventions": "CF-1.8",
    "title": "Burgers equation in two dimensions: fields and derivatives",
    "source": "burgers_adjoint",
}
AXES = {
    "x": {"long_name": "first coordinate, a length", "units": "1", "axis": "X"},
    "y": {"long_name": "second coordinate, a length", "units": "1", "axis": "Y"},
}
OF_A_STATE = {
    "time": {"long_name": "time since the start of the run", "units": "1", "axis": "T"},
    "step": {"long_name": "time steps since the start of the run", "units": "1"},
}
COMPONENTS = {"u": "along x", "v": "along y"}
# What the groups hold, and of what: both by their names, others keep theirs.
GROUPS = {
    "state": "{}",
    "gradient": "derivative of the objective by the {}",
    "controls": "recovered {}",
    "prior": "first guess of the {}",
    "truth": "true {}",
    "deviation": "standard deviation of the {}",
    "directions": "direction of the {}",
    "products": "product of the second derivative with a direction, by the {}",
    "modes": "direction of the {} that observations determine",
    "samples": "random {} after the observations",
    "primal": "velocity",
    "cotangent": "derivative of the objective by the velocity",
    "fields": "observed velocity",
    "sensors": "{} at the sensors",
}
QUANTITIES = {
    "initial": "initial velocity",
    "final": "final velocity",
    "boundary": "velocity at the boundary",
    "forcing_in_time": "forcing at a knot",
    "eigenvalues": "variance of a direction before the observations over that of their noise",
    "residuals": "norm of what is left of an eigenvector's equation",
}


def attributes_of(path: str) -> dict[str, str]:
    """Attributes of a dataset that is no axis, by its path such as "/state/final/u"."""
    return OF_A_STATE.get(split(path)[1]) or {"long_name": _long_name(path), "units": "1"}


def _long_name(path: str) -> str:
    words = path.strip("/").split("/")
    component = f" {COMPONENTS[words.pop()]}" if words[-1] in COMPONENTS else ""
    if not words:
        return f"velocity{component}"
    # the number of a knot says nothing that its time does not
    words = [word for word in words if not word.isdecimal()]
    quantity = " ".join(QUANTITIES.get(word, word.replace("_", " ")) for word in words[1:])
    if words[0] not in GROUPS:
        quantity = " ".join(word.replace("_", " ") for word in words)
    return GROUPS.get(words[0], "{}").format(quantity or "velocity") + component

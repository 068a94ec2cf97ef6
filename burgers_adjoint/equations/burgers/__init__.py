"""The model half: the Burgers equation, its step, its tangent and its adjoint on one tile."""

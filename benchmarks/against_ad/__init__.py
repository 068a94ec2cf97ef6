"""Our gradients against an independent automatic differentiation of the discrete equations."""

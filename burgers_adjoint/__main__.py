"""Makes `python -m burgers_adjoint` the same as the command `burgers-adjoint`."""

from burgers_adjoint.commands.line import main

if __name__ == "__main__":
    main()

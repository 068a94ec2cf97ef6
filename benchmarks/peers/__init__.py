"""The same discretisation by other means, beside this package: one file per peer.

Every peer runs in a process of its own; one that needs packages has a list of them beside it, from
which its environment is made.
"""

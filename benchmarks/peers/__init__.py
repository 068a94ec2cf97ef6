"""The same discretisation by other means, beside this package: one file per peer."""

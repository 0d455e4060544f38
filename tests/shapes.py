"""The checker of annotated types and shapes that runs under pytest."""

from beartype import BeartypeConf, beartype

# int is accepted as float, as in PEP 484.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""The checker of annotated types and shapes that runs under pytest."""

from beartype import BeartypeConf, beartype

# int passes for float, as the typing rules (PEP 484) have it.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

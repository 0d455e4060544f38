"""The encoders: LR picture → features, at the same resolution."""

from liif.encoders.edsr import EDSR as EDSR
from liif.encoders.rdn import RDN as RDN

__all__ = ["EDSR", "RDN"]

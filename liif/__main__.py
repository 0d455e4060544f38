"""`python -m liif` is `liif`."""

from liif.cli import main

main()

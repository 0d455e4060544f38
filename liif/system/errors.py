"""Errors that are shown to the user."""


class UserError(Exception):
    """A mistake or limit that the user can resolve: one line that names it and the remedy.

    The command line prints it without a traceback and exits with 1.
    """


class PictureError(UserError):
    """An error of one picture; a job over many continues with the others."""


def printable(name: object) -> str:
    """A name from a file for a message, without line ends and control characters."""
    text = str(name)
    return text if text.isprintable() else repr(text)

"""The errors that are meant for the user's eyes."""


class UserError(Exception):
    """A mistake or a limit that the user can mend: one line naming the thing and the remedy.

    The command line prints it without a traceback and exits with 1.
    """


class PictureError(UserError):
    """What is wrong with one picture, so that a job over many can go on with the others."""


def printable(name: object) -> str:
    """A name from a file as messages show it: without line ends and what steers terminals."""
    text = str(name)
    return text if text.isprintable() else repr(text)

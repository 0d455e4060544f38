"""The one kind of error that is meant for the user's eyes."""


class UserError(Exception):
    """A mistake or a limit that the user can mend: one line naming the thing and the remedy.

    The command line prints it without a traceback and exits with 1.
    """


class Interrupted(Exception):
    """A job was asked to stop by a signal, and what it had done is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

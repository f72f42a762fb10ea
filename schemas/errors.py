"""The errors that a user sees as one line."""


class UserError(Exception):
    """The user's mistake. Shown as one clear line that says what to do; the command exits with 2."""


class WorkFailed(Exception):
    """The command finished, but some of its items failed. Shown after the summary; the command exits with 1."""

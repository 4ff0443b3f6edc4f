"""What a plugin answers when it can't do what was asked: of one record, or of a whole call."""


class Reject(Exception):
    """Why one record could not be handled. What becomes of it is the operator's choice.

    `code` is short and stable, for metrics and machines: `syntax`, `schema`, …; `message` is for the person who reads
    the log or the dead letter.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class PluginError(Exception):
    """Why a whole call failed."""

    def __init__(self, kind: str, message: str, after_ms: int = 0):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.after_ms = after_ms

    @classmethod
    def config(cls, message: str) -> "PluginError":
        """The configuration is wrong. Not tried again."""
        return cls("config", message)

    @classmethod
    def retriable(cls, message: str, after_ms: int = 0) -> "PluginError":
        """The same call may succeed later; 0 leaves it to the host when."""
        return cls("retriable", message, after_ms)

    @classmethod
    def bad_input(cls, message: str) -> "PluginError":
        """This input can never succeed."""
        return cls("bad-input", message)

    @classmethod
    def fatal(cls, message: str) -> "PluginError":
        """The plugin's own state can't be trusted any more. The instance is replaced."""
        return cls("fatal", message)

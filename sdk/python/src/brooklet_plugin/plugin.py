"""What an author says a plugin is."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .record import COLUMNS


@dataclass(frozen=True)
class Context:
    """What an instance works for."""

    plugin_name: str
    role: str
    task: str
    host_version: str
    properties: list[tuple[str, str]] = field(default_factory=list)


class Plugin:
    """A plugin. Its module has it under the name `plugin`; name and version are those of the project if left out.

    `config` is the JSON Schema of the configuration; anything goes without one.
    """

    def __init__(
        self,
        *,
        description: str = "",
        config: dict | None = None,
        name: str | None = None,
        version: str | None = None,
    ):
        self.name = name
        self.version = version
        self.description = description
        self.config = config
        self.columns = COLUMNS
        self.configure: Callable | None = None
        self.record: Callable | None = None
        self.batch_done: Callable | None = None

    def transform(
        self,
        *,
        columns: tuple[str, ...] = COLUMNS,
        configure: Callable | None = None,
        batch_done: Callable | None = None,
    ):
        """Makes a transform of a function that is called once per record, with what `configure` returned.

        `configure(config, context)` is called once per instance: whatever can be checked is checked there, and handles
        of metrics are made there. Without it, the function gets the configuration as it is. `batch_done(configured)`
        is called after each batch: count there, once. What is not in `columns` is not copied.
        """
        for column in columns:
            if column not in COLUMNS:
                raise TypeError(f"there is no column {column}: {', '.join(COLUMNS)}")

        def take(function):
            if self.record is not None:
                raise TypeError("a plugin has one transform")
            self.columns = tuple(columns)
            self.configure = configure
            self.batch_done = batch_done
            self.record = function
            return function

        return take

    def manifest(self, name: str, version: str) -> dict:
        """What stands in the component."""
        if self.record is None:
            raise TypeError("a plugin has a function under @plugin.transform")
        manifest = {
            "name": self.name or name,
            "version": self.version or version,
            "description": self.description,
            "roles": ["transform"],
        }
        return manifest if self.config is None else {**manifest, "config": self.config}

"""Where the demo looks for `command_line.toml_text`."""

from command_line.toml_text import toml_text as toml_text  # noqa: PLC0414 - handed on

"""Text that somebody else chose, made fit for a terminal: what it shows is what there is.

A gateway may put into a name what makes a terminal clear its screen, change its title or write from
right to left (ECMA-48, Unicode's bidirectional controls). Who prints such text passes it through
here; escaping for HTML and SQL is done by those who make these.
"""

import json


def printable(text: str) -> str:
    """Return text with every character that shows nothing, or moves others, as JSON escapes it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)

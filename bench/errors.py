"""What every measurement raises when it measured nothing."""


class BenchError(Exception):
    """The measurement is void: something was lost, refused, or ended before its time."""

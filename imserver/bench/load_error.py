"""What can go wrong with a measurement."""


class LoadError(Exception):
    """A run that is no measurement; the text is one sentence for whoever started it."""

def is_plain(path: bytes) -> bool:
    """Normalisation would not change the path (without looking at ;parameters)."""

def normalise(path: bytes, keep_encoded_slash: bool = False, servlet: bool = False) -> bytes | None:
    """The path (without query) in the form that is matched; None when it can't be normalised (answer 400)."""

"""Writing a file of the user's: whole or not at all, and for its owner alone."""

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Put the text in the file's place at once, readable by its owner alone. A link keeps leading to it. Raises OSError."""
    target = path.resolve()
    # mkstemp makes it 0600; on Windows the folder of the user's profile decides.
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""How far a long list of pictures is, in words."""

import time
from collections.abc import Callable

# Called with what is being made, how many are done and how many there will be.
Tell = Callable[[str, int, int], None]


class Progress:
    """Writes how far a list of pictures is and when it will be done, at most every few seconds."""

    def __init__(self, write: Callable[[str], None] = print, every_seconds: float = 10.0) -> None:
        self.write, self.every_seconds = write, every_seconds
        self.name, self.began, self.first, self.told = "", 0.0, 0, 0.0

    def __call__(self, name: str, done: int, total: int) -> None:
        """Tell that `done` of `total` are there; the first call of a name starts its clock."""
        now = time.monotonic()
        if name != self.name:
            self.name, self.began, self.first, self.told = name, now, done, 0.0
        if done < total and now - self.told < self.every_seconds:
            return
        self.told = now
        made, seconds = done - self.first, now - self.began
        left = f", {seconds / made * (total - done) / 60:.1f} min left" if made and done < total else ""
        self.write(f"{time.strftime('%H:%M:%S')} {name}: {done} of {total}{left}")

"""Bytes and durations for people. The only place that rounds: everywhere else bytes are ints."""

KIB = 1024
MIB = 1024**2
GIB = 1024**3


def format_bytes(count: int) -> str:
    """Print a byte count in binary units, e.g. ``17.3 GiB``; negative counts keep their sign."""
    magnitude = abs(count)
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if magnitude >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def format_duration(seconds: float) -> str:
    """Print seconds as ``2 h 5 min``, ``3 min 20 s``, ``58 s`` or ``4.2 s``."""
    if seconds >= 10:
        seconds = round(seconds)
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds} s"

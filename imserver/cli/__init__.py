"""The command line: `imserver` serves; its other commands look after what a server keeps."""

from __future__ import annotations

from imserver.cli.signals import end_on_sigterm
from imserver.cli.streams import have_standard_streams


def main() -> None:
    """Run `imserver` with the arguments of this process."""
    end_on_sigterm()  # before the rest is loaded, which takes a while
    have_standard_streams()
    try:
        from imserver.cli.program import program
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    program(prog_name="imserver")

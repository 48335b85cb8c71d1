"""The load process: started, watched and ended by the one that the user started."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Final

from imserver.bench.load import Failure, Load, Measured, Progressed
from imserver.bench.load_error import LoadError
from imserver.bench.loop import clock
from imserver.bench.measuring import Field
from imserver.bench.scenarios.table import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

_BETWEEN_REPORTS: Final = 0.1  # seconds
_END_SECONDS: Final = 5.0


def measure(load: Load, progress: Callable[[Progressed], None]) -> dict[str, float]:
    """Run a load in a process of its own, and return its figures.

    Raises:
        LoadError: the run is no measurement.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(load, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            try:
                said = ours.recv()
            except EOFError:
                raise LoadError("the load process died") from None
            match said:
                case Progressed():
                    progress(said)
                case Measured(figures):
                    return figures
                case Failure(sentence):
                    raise LoadError(sentence)
    finally:
        ours.close()
        process.join(_END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _work(load: Load, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    # Everything here lives as long as the run: collecting would find nothing, and take its time.
    gc.disable()
    last = 0.0

    def progress(doing: str, done: float) -> None:
        nonlocal last
        if clock() - last >= _BETWEEN_REPORTS:
            last = clock()
            pipe.send(Progressed(doing, min(done, 1.0)))

    try:
        field = Field(load, progress)
        try:
            figures = SCENARIOS[load.scenario].run(field)
        finally:
            field.loop.close()
    except BrokenPipeError:
        return  # whoever wanted to know is gone
    except LoadError as error:
        pipe.send(Failure(str(error)))
    except OSError as error:
        pipe.send(Failure(f"the connection to the server failed: {error}"))
    else:
        pipe.send(Measured(figures))

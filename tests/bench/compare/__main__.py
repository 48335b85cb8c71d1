"""`python -m tests.bench.compare`."""

from tests.bench.compare.command import compare

if __name__ == "__main__":
    compare(prog_name="python -m tests.bench.compare")

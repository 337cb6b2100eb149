"""`python -m trace_timing`: the same as the console script."""

from trace_timing.commands import main

if __name__ == "__main__":
    main()

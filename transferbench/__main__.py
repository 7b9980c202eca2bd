"""``python -m transferbench`` is ``tb``; ``torchrun -m transferbench`` needs it."""

from transferbench.cli import main

if __name__ == "__main__":
    main(prog_name="tb")

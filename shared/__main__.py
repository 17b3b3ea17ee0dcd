"""``python -m shared`` is ``sluice``."""

from shared.cli.main import main

if __name__ == "__main__":
    main()

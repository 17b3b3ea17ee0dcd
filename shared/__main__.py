"""``python -m shared`` is ``sluice``."""

from shared.cli.start import start

if __name__ == "__main__":
    start()

"""Operators and sensors that let Airflow run Sluice: over the API of the app, or by the command ``sluice``."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def get_provider_info() -> dict[str, Any]:
    """What Airflow lists of this provider."""
    return {
        "package-name": "sluice-airflow",
        "name": "Sluice",
        "description": "Run feeds and systems of Sluice, and wait for their jobs.",
        "versions": [__version__],
    }

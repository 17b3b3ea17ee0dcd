"""Arrow's compute functions, typed as Any: the published stubs are six versions behind."""

from __future__ import annotations

from typing import Any

import pyarrow as _pa
import pyarrow.compute as _compute

pc: Any = _compute
arange: Any = _pa.arange  # type: ignore[attr-defined]  # since pyarrow 21

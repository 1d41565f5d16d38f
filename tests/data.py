"""Where the real input data lies: published order flow, loan books, reference values; kept outside the repository."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
DATA_DIR = Path(os.environ.get("DEBT_MARKET_DATA", CHECKOUT.parent / "shared" / "data"))

needs_data = pytest.mark.skipif(not DATA_DIR.is_dir(), reason=f"no test data at {DATA_DIR} (set DEBT_MARKET_DATA)")

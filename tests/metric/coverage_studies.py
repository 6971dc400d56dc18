"""The simulated studies of scripts/coverage.py, whose modules lie beside one another and not in a package."""

from __future__ import annotations

import importlib
import sys

from tests.repository import ROOT

if str(ROOT / "scripts") not in sys.path:
    sys.path.append(str(ROOT / "scripts"))  # last: another package is called coverage, too

classes = importlib.import_module("coverage_classes")
others = importlib.import_module("coverage_others")
results = importlib.import_module("coverage_results")
quantities = importlib.import_module("coverage_values")
masks = importlib.import_module("coverage_masks")

"""NNCF without its usage reports, which it sends unless the user opted out. It makes its reporter when imported."""

import logging
import sys
from functools import cache
from importlib import import_module
from types import ModuleType

_REPORTER = "openvino_telemetry"
_ABSENT: dict[str, None] = {_REPORTER: None}  # how Python notes a module that must not be imported


@cache
def import_nncf() -> ModuleType:
    """Return the package. It takes its own stub for a reporter that is not installed."""
    before = {name: module for name, module in sys.modules.items() if name == _REPORTER}
    sys.modules.update(_ABSENT)  # type: ignore[arg-type]
    try:
        nncf = import_module("nncf")
    finally:
        del sys.modules[_REPORTER]
        sys.modules.update(before)
    logging.getLogger("nncf").setLevel(logging.ERROR)  # `nncf.set_log_level` changes handlers too, which others share
    return nncf

"""How every campaign ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn


def end(result: Mapping[str, Any], *, found: object) -> NoReturn:
    """Write one JSON object; exit code 1 if something was found that should not be."""
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")
    sys.exit(int(bool(found)))

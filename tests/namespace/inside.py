"""Run a few lines of Python in namespaces of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.namespaces_of_users import needs_namespaces

__all__ = ["run_inside"]


def run_inside(lines: str, shared: tuple[str, ...] = (), **environment: str) -> Any:
    """Run lines that set `found`, after `inside = enter(shared)`, and return that, as JSON has it."""
    needs_namespaces()
    script = (
        "import json, os, socket\n"
        "from chainsocks.namespace.enter import confine, enter\n"
        f"os.environ.update({environment!r})\n"
        f"inside = enter({shared!r})\n{lines}\nprint(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

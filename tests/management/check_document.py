"""Calls every route that the running server's description lists, as every role, with what fits it and what does not.

Nothing may answer 5xx, with a status or a body that the description does not have, or with another content type. Two roles at a
time; what each run said is in target/management/ROLE.txt and ROLE.xml. Names of roles as arguments run only those.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stage import ROLES, free_port

HERE = Path(__file__).parent
REPORTS = HERE.parents[1] / "target" / "management"
AT_ONCE = 2
# For one role. It takes a fraction of this; a run that hangs ends with it.
PATIENCE = 600.0


def run(role: str) -> tuple[str, bool, str, float]:
    port = free_port()
    begun = time.monotonic()
    arguments = [
        *("run", f"http://127.0.0.1:{port}/v1/openapi.json"),
        *("--phases", "coverage,fuzzing", "--mode", "all"),
        *("--max-examples", os.environ.get("MANAGEMENT_EXAMPLES", "6"), "--no-shrink", "--no-color"),
        *("--report", "junit", "--report-junit-path", str(REPORTS / f"{role}.xml")),
    ]
    env = {
        **os.environ,
        "MANAGEMENT_ROLE": role,
        "MANAGEMENT_PORT": str(port),
        "SCHEMATHESIS_HOOKS": "role_hooks",
        "PYTHONPATH": str(HERE),
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"), *arguments],
        env=env,
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    (REPORTS / f"{role}.txt").write_text(done.stdout)
    return role, done.returncode == 0, done.stdout, time.monotonic() - begun


def main() -> int:
    roles = sys.argv[1:] or ROLES
    REPORTS.mkdir(parents=True, exist_ok=True)
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for role, good, output, seconds in pool.map(run, roles):
            print(f"{role}: {'as described' if good else 'NOT as described'} ({seconds:.0f} s)", flush=True)
            if not good:
                failed.append(role)
                print(output, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

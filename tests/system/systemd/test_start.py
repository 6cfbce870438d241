# SPDX-License-Identifier: Apache-2.0
"""The services start as they are shipped, and what they are then."""

import os

from booted import (ACTUATOR, BUILD, DAEMON, SOURCE, case, check, main,  # noqa: F401
                    shipped_unit, wait_for)


@case()
def start_and_status(m):
    before = m.baseline()
    m.govern()
    print(m.show(DAEMON, "StatusText"), m.status()["gpus"][0])
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    m.systemctl("stop", DAEMON)
    wait_for("baseline", lambda: m.baseline() == before)


if __name__ == "__main__":
    main()

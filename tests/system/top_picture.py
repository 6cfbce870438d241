# SPDX-License-Identifier: Apache-2.0
"""Makes docs/top.svg: cofrisctl top beside the daemon and two simulated cards.

usage: COFRIS_BUILD=build COFRIS_SOURCE=. python3 tests/system/top_picture.py picture
"""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, SOURCE, case, main, wait_for  # noqa: E402
from screen_svg import svg  # noqa: E402
from test_ctl import CTL, Terminal  # noqa: E402

CONFIG = f"""[daemon]
allow_simulated = yes
[gpu {BDF[0]}]
enabled = yes
gating = cu
[gpu {BDF[1]}]
enabled = yes
gating = cu
power_cap = 150W
[model resnet50]
slo = 20ms
allow = 0
[model vgg19]
slo = 40ms
allow = 0
"""


@case(count=2, sim=["--gating", "cu"])
def picture(m):
    m.surface("vgg19")
    m.write_config(text=CONFIG, name="two")
    m.start_bus()
    m.surface()
    m.start_actuator()
    m.start_daemon(config="two")
    m.start_worker("--rate", "60", "--duration", "600s", "--seed", "1")
    m.start_worker("--rate", "20", "--duration", "600s", "--seed", "2", gpu=BDF[1], name="second")
    m.start_worker("--rate", "25", "--duration", "600s", "--seed", "3", gpu=BDF[1], model="vgg19",
                   name="third")
    with Terminal(m, CTL, "--bus", m.bus_address, "top", width=120, height=18) as terminal:
        # Full of decisions, and past the first ones.
        wait_for("a screen full", lambda: terminal.screen().count(" MHz ") >= 5
                 and min(g["decisions"] for g in m.status()["gpus"]) > 80)
        # A moment in which no single reading is above a cap, as most are.
        screen = wait_for("a usual moment", lambda: "\x1b[31m" not in (
            s := terminal.screen("-e", "-N")) and s)
    with open(os.path.join(SOURCE, "docs", "top.svg"), "w", encoding="utf-8") as f:
        f.write(svg(screen, "cofrisctl top: two simulated cards, three workers"))


if __name__ == "__main__":
    main()

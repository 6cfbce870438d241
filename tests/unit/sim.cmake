# SPDX-License-Identifier: Apache-2.0
cofris_test(test-sim-card SOURCES test-sim-card.c USES cofris-simcard Threads::Threads LABELS unit)
cofris_test(test-sim-tree SOURCES test-sim-tree.c USES cofris-sim-tree LABELS unit)
cofris_test(test-sim-capture SOURCES test-sim-capture.c USES cofris-sim-tree LABELS unit)

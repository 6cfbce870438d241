# SPDX-License-Identifier: Apache-2.0
cofris_test(test-sim-card SOURCES test-sim-card.c USES cofris-simcard Threads::Threads LABELS unit)

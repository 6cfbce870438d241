# SPDX-License-Identifier: Apache-2.0
# The thunk's half of the simulated libhsakmt over a device that only keeps what it is told.
foreach(part IN ITEMS events memory thunk)
  cofris_test(test-hsakmt-${part} SOURCES test-hsakmt-${part}.c fake-hsakmt-device.c
    USES cofris-hsakmt-thunk cofris-sim-tree LABELS unit)
endforeach()

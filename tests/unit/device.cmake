# SPDX-License-Identifier: Apache-2.0
# The device's half of the simulated libhsakmt, with packets written by hand.
foreach(part IN ITEMS copies hostile kernels others)
  cofris_test(test-device-${part} SOURCES test-device-${part}.c device-fixture.c
    USES cofris-hsakmt LABELS unit)
endforeach()
# Both halves, which call each other.
cofris_test(test-device-stress SOURCES test-device-stress.c $<TARGET_OBJECTS:cofris-hsakmt>
  USES cofris-hsakmt-thunk cofris-sim-tree LABELS unit)

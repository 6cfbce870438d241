# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS card checks options output scratch stats window)
  cofris_test(test-profile-${part} SOURCES test-profile-${part}.c USES cofris-profiler-core
    LABELS unit)
endforeach()

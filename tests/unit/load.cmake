# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS load-curve arrivals trace)
  cofris_test(test-${part} SOURCES test-${part}.c USES cofris-load LABELS unit)
endforeach()

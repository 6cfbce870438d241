# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS load-curve arrivals options queue report serve)
  cofris_test(test-worker-${part} SOURCES test-worker-${part}.c USES cofris-worker-core
    LABELS unit)
endforeach()

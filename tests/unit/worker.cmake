# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS launch-plan options queue report serve)
  cofris_test(test-worker-${part} SOURCES test-worker-${part}.c USES cofris-worker-core
    LABELS unit)
endforeach()
if(TARGET cofris-worker-hip)
  foreach(part IN ITEMS hip hip-bundle)
    cofris_test(test-worker-${part} SOURCES test-worker-${part}.c USES cofris-worker-hip
      LABELS unit)
  endforeach()
endif()

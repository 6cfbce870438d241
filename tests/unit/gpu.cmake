# SPDX-License-Identifier: Apache-2.0
add_library(gpu-fixture STATIC test-gpu-fixture.c)
target_link_libraries(gpu-fixture PUBLIC cofris-base)
cofris_test(test-gpu-parsers SOURCES test-gpu-parsers.c USES cofris-gpu gpu-fixture LABELS unit)
cofris_test(test-gpu-sysfs SOURCES test-gpu-sysfs.c USES cofris-gpu gpu-fixture LABELS unit)
cofris_test(test-gpu-rsmi-guard SOURCES test-gpu-rsmi-guard.c
  USES cofris-gpu gpu-fixture Threads::Threads LABELS unit)

# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS bench costs truth)
  cofris_test(test-replay-${part} SOURCES test-replay-${part}.c USES cofris-replay-core LABELS unit)
endforeach()
cofris_test(test-simulation SOURCES test-simulation.c USES cofris-replay-core cofris-worker-core
  LABELS unit)
cofris_test(test-simulation-steps SOURCES test-simulation-steps.c USES cofris-replay-core
  LABELS unit)
cofris_test(test-simulation-governor SOURCES test-simulation-governor.c USES cofris-replay-core
  Threads::Threads LABELS unit)
target_link_options(test-simulation-governor PRIVATE -Wl,--wrap=governor_step)

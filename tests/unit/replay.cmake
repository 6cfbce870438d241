# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS bench costs options truth)
  cofris_test(test-replay-${part} SOURCES test-replay-${part}.c USES cofris-replay-core LABELS unit)
endforeach()
cofris_test(test-replay-report
  SOURCES test-replay-report.c ${PROJECT_SOURCE_DIR}/tests/support/made-up-evaluation.c
  USES cofris-replay-core LABELS unit)

# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS bench costs truth)
  cofris_test(test-replay-${part} SOURCES test-replay-${part}.c USES cofris-replay-core LABELS unit)
endforeach()
cofris_test(test-measures SOURCES test-measures.c USES cofris-replay-core LABELS unit)
cofris_test(test-oracle-search SOURCES test-oracle-search.c USES cofris-replay-core LABELS unit)

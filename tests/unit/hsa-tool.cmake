# SPDX-License-Identifier: Apache-2.0
cofris_test(test-hsa-tool SOURCES test-hsa-tool.c USES cofris-channel ${CMAKE_DL_LIBS}
  Threads::Threads TIMEOUT 180)
add_dependencies(test-hsa-tool cofris-hsa)

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-libcofris SOURCES test-libcofris.c USES cofris cofris-channel Threads::Threads
  TIMEOUT 180 WAITS COST 10)
add_test(NAME test-libcofris-abi COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/test-libcofris-abi.sh
  $<TARGET_FILE:cofris> ${PROJECT_SOURCE_DIR}/include/cofris/cofris.h
  ${PROJECT_SOURCE_DIR}/include/cofris/hip.h)
cofris_test(test-hip-pool SOURCES test-hip-pool.c USES cofris Threads::Threads WAITS COST 10)

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-hsa-tool SOURCES test-hsa-tool.c USES cofris-channel ${CMAKE_DL_LIBS}
  Threads::Threads TIMEOUT 180 WAITS COST 10)
add_dependencies(test-hsa-tool cofris-hsa)
find_program(COFRIS_CXX NAMES c++ g++ clang++)
mark_as_advanced(COFRIS_CXX)
add_test(NAME test-hsa-abi COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/test-hsa-abi.sh
  ${COFRIS_CXX} ${PROJECT_SOURCE_DIR} $<TARGET_FILE:cofris-hsa>)
set_tests_properties(test-hsa-abi PROPERTIES SKIP_RETURN_CODE 77)
# A sanitizer has needs of its own.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND NOT COFRIS_SANITIZE)
  add_test(NAME test-glibc-floor COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/test-glibc-floor.sh
    2.17 $<TARGET_FILE:cofris> $<TARGET_FILE:cofris-hsa>)
endif()

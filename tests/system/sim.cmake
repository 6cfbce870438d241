# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
find_path(ROCM_SMI_INCLUDE_DIR rocm_smi/rocm_smi.h REQUIRED)

# Runs inside cofris-sim only; the script begins with it.
add_executable(test-sim-selftest test-sim-selftest.c)
set_target_properties(test-sim-selftest PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_include_directories(test-sim-selftest SYSTEM PRIVATE ${ROCM_SMI_INCLUDE_DIR})
target_compile_definitions(test-sim-selftest PRIVATE COFRIS_BINARY_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(test-sim-selftest PRIVATE cofris-simcard cofris-plant cofris-base
  PkgConfig::CMOCKA PkgConfig::JANSSON Threads::Threads ${CMAKE_DL_LIBS})
add_test(NAME sim-selftest COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test-sim-selftest.sh
  $<TARGET_FILE:cofris-sim> $<TARGET_FILE:test-sim-selftest>)
set_tests_properties(sim-selftest PROPERTIES LABELS system TIMEOUT 300 SKIP_RETURN_CODE 77)

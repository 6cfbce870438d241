# SPDX-License-Identifier: Apache-2.0
add_executable(bench-wake bench-wake.c)
set_target_properties(bench-wake PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_link_libraries(bench-wake PRIVATE cofris-base cofris)

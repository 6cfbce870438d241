# SPDX-License-Identifier: Apache-2.0
add_executable(bench-apply bench-apply.c)
set_target_properties(bench-apply PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_link_libraries(bench-apply PRIVATE cofris-base cofris-actuator-client PkgConfig::JANSSON
  ${CMAKE_DL_LIBS})

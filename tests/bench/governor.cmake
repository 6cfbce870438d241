# SPDX-License-Identifier: Apache-2.0
add_executable(bench-governor bench-governor.c)
set_target_properties(bench-governor PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_include_directories(bench-governor PRIVATE ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(bench-governor PRIVATE cofris-governor PkgConfig::JANSSON)

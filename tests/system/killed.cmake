# SPDX-License-Identifier: Apache-2.0
add_test(NAME system-killed-plant
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-killed.py plant)
set_tests_properties(system-killed-plant PROPERTIES LABELS system TIMEOUT 180 SKIP_RETURN_CODE 77
  ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")

# SPDX-License-Identifier: Apache-2.0
cofris_system_tests(test_ctl.py)
add_test(NAME system-capture
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-capture.py)
set_tests_properties(system-capture PROPERTIES LABELS system TIMEOUT 180 SKIP_RETURN_CODE 77
  ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")

# SPDX-License-Identifier: Apache-2.0
# Alone, so that the load's host time is not spent on other tests.
add_test(NAME system-quickstart
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test-quickstart.py)
set_tests_properties(system-quickstart PROPERTIES LABELS system TIMEOUT 420 RUN_SERIAL ON
  SKIP_RETURN_CODE 77
  ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")

# SPDX-License-Identifier: Apache-2.0
find_program(COFRIS_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)

add_test(NAME test-security-doc
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-security-doc.py
    --ctest ${CMAKE_CTEST_COMMAND} --build ${PROJECT_BINARY_DIR})
set_tests_properties(test-security-doc PROPERTIES LABELS unit TIMEOUT 60)

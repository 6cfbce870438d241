# SPDX-License-Identifier: Apache-2.0
foreach(engine IN ITEMS plant hip)
  add_test(NAME system-killed-${engine}
    COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-killed.py ${engine})
  set_tests_properties(system-killed-${engine} PROPERTIES LABELS system TIMEOUT 180
    SKIP_RETURN_CODE 77
    ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")
endforeach()

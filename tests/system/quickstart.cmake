# SPDX-License-Identifier: Apache-2.0
# Real time, most of which is spent on waiting: the longest begin first, beside all others.
foreach(engine IN ITEMS plant hip)
  add_test(NAME system-quickstart-${engine}
    COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test-quickstart.py ${engine})
  set_tests_properties(system-quickstart-${engine} PROPERTIES LABELS system TIMEOUT 600
    COST 100 SKIP_RETURN_CODE 77
    ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")
endforeach()
# Its kernels run on the host.
set_tests_properties(system-quickstart-hip PROPERTIES PROCESSORS 2)

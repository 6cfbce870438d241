# SPDX-License-Identifier: Apache-2.0
add_test(NAME system-installed
  COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/test-installed.sh ${CMAKE_COMMAND} ${PROJECT_BINARY_DIR}
    ${PROJECT_SOURCE_DIR} ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR}
    ${CMAKE_INSTALL_FULL_DATADIR}/cofris)
set_tests_properties(system-installed PROPERTIES LABELS system TIMEOUT 60 SKIP_RETURN_CODE 77
  RESOURCE_LOCK install)

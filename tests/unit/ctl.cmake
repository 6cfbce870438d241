# SPDX-License-Identifier: Apache-2.0
cofris_test(test-ctl SOURCES test-ctl.c USES cofris-base LABELS unit)
add_dependencies(test-ctl cofrisctl)
foreach(part health metrics output screen)
  cofris_test(test-ctl-${part} SOURCES test-ctl-${part}.c USES cofris-ctl LABELS unit)
endforeach()

find_program(COFRIS_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
add_test(NAME test-ctl-completion COMMAND ${COFRIS_PYTHON}
  ${CMAKE_CURRENT_LIST_DIR}/test-ctl-completion.py $<TARGET_FILE:cofrisctl>
  ${PROJECT_BINARY_DIR}/src/ctl/cofrisctl.bash)
set_tests_properties(test-ctl-completion PROPERTIES LABELS unit TIMEOUT 60)

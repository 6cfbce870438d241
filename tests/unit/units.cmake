# SPDX-License-Identifier: Apache-2.0
# How much of the system is open to the services: systemd's own score, without a boot.
find_program(SYSTEMD_ANALYZE systemd-analyze)
if(SYSTEMD_ANALYZE)
  foreach(unit IN ITEMS cofrisd cofris-actuator)
    # In tenths.
    add_test(NAME test-unit-exposure-${unit}
      COMMAND ${SYSTEMD_ANALYZE} security --offline=true --threshold=13 --no-pager
        ${PROJECT_BINARY_DIR}/systemd/${unit}.service)
    set_tests_properties(test-unit-exposure-${unit} PROPERTIES LABELS unit TIMEOUT 60)
  endforeach()
endif()

# SPDX-License-Identifier: Apache-2.0
# Each case of each test_*.py here is a test of its own.
file(GLOB systemd_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
foreach(file IN LISTS systemd_tests)
  file(STRINGS ${file} decorated REGEX "^(@case|def )")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  set(is_case FALSE)
  foreach(line IN LISTS decorated)
    if(line MATCHES "^@case")
      set(is_case TRUE)
    elseif(is_case AND line MATCHES "^def ([a-z0-9_]+)")
      set(name ${CMAKE_MATCH_1})
      set(is_case FALSE)
      add_test(NAME systemd-${name} COMMAND ${COFRIS_PYTHON} ${file} ${name})
      set_tests_properties(systemd-${name} PROPERTIES LABELS system TIMEOUT 300
        SKIP_RETURN_CODE 77
        ENVIRONMENT "COFRIS_BUILD=${PROJECT_BINARY_DIR};COFRIS_SOURCE=${PROJECT_SOURCE_DIR}")
    endif()
  endforeach()
endforeach()
# A flood, the bus and the daemon take two cores between them.
foreach(name IN ITEMS a_flood_of_questions_on_the_system_bus_delays_no_tick
    a_flood_of_denied_orders_with_polkit_delays_no_tick)
  set_tests_properties(systemd-${name} PROPERTIES PROCESSORS 4)
endforeach()

# SPDX-License-Identifier: Apache-2.0
# Each case of each test_*.py here is a test of its own.
file(GLOB systemd_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
foreach(file IN LISTS systemd_tests)
  cofris_system_tests(${file} systemd)
endforeach()
# A flood, the bus and the daemon take two cores between them.
foreach(name IN ITEMS a_flood_of_questions_on_the_system_bus_delays_no_tick
    a_flood_of_denied_orders_with_polkit_delays_no_tick)
  set_tests_properties(systemd-${name} PROPERTIES PROCESSORS 4)
endforeach()

# SPDX-License-Identifier: Apache-2.0
cofris_system_tests(test_reload.py)
cofris_system_tests(test_floods.py)
# A flood, the bus and the daemon take two cores between them.
foreach(name IN ITEMS a_flood_of_questions_on_the_bus_delays_no_tick
    a_flood_of_denied_orders_on_the_bus_delays_no_tick
    callers_that_read_no_answer_cost_the_daemon_nothing a_storm_of_connections_delays_no_tick)
  set_tests_properties(system-${name} PROPERTIES PROCESSORS 4)
endforeach()
# The longest of them begin first.
set_tests_properties(system-a_thousand_reloads_under_load_leave_nothing_behind PROPERTIES COST 50
  PROCESSORS 2)

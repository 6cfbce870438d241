# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS bench costs options share truth)
  cofris_test(test-replay-${part} SOURCES test-replay-${part}.c USES cofris-replay-core LABELS unit)
endforeach()
cofris_test(test-replay-report
  SOURCES test-replay-report.c ${PROJECT_SOURCE_DIR}/tests/support/made-up-evaluation.c
  USES cofris-replay-core LABELS unit)

# Both ways round: the shipped ensemble is what the generator makes, and what it makes is right.
find_program(COFRIS_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
add_test(NAME profiles-ensemble-is-generated
  COMMAND make-ensemble ${PROJECT_SOURCE_DIR}/profiles --check)
add_test(NAME profiles-ensemble-satisfies-the-facts
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test-ensemble.py)
set_tests_properties(profiles-ensemble-is-generated profiles-ensemble-satisfies-the-facts
  PROPERTIES TIMEOUT 120 PROCESSORS 2 LABELS unit)
cofris_test(test-simulation SOURCES test-simulation.c USES cofris-replay-core cofris-worker-core
  LABELS unit)
cofris_test(test-simulation-steps SOURCES test-simulation-steps.c USES cofris-replay-core
  LABELS unit)
cofris_test(test-simulation-models SOURCES test-simulation-models.c USES cofris-replay-core
  LABELS unit)
cofris_test(test-simulation-events SOURCES test-simulation-events.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-events PRIVATE -Wl,--wrap=governor_step)
# A minute under a sanitizer.
cofris_test(test-disturbances SOURCES test-disturbances.c USES cofris-replay-core Threads::Threads
  LABELS system TIMEOUT 600)
cofris_test(test-simulation-cap SOURCES test-simulation-cap.c USES cofris-replay-core
  LABELS unit)
cofris_test(test-simulation-governor SOURCES test-simulation-governor.c USES cofris-replay-core
  Threads::Threads LABELS unit)
target_link_options(test-simulation-governor PRIVATE -Wl,--wrap=governor_step)
foreach(part IN ITEMS evaluate evaluate-exact evaluate-figures measures mix oracle oracle-search)
  cofris_test(test-${part} SOURCES test-${part}.c USES cofris-replay-core LABELS unit TIMEOUT 180)
endforeach()
set_tests_properties(test-evaluate PROPERTIES COST 20)
cofris_test(test-simulation-scale SOURCES test-simulation-scale.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-scale PRIVATE -Wl,--wrap=governor_step)
cofris_test(test-menu-bench SOURCES test-menu-bench.c USES cofris-replay-core LABELS unit)
cofris_test(test-simulation-check SOURCES test-simulation-check.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-check PRIVATE -Wl,--wrap=governor_step)
cofris_test(test-simulation-factor SOURCES test-simulation-factor.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-factor PRIVATE -Wl,--wrap=governor_step)
cofris_test(test-simulation-switch SOURCES test-simulation-switch.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-switch PRIVATE -Wl,--wrap=governor_step)
cofris_test(test-simulation-several SOURCES test-simulation-several.c USES cofris-replay-core
  LABELS unit)
target_link_options(test-simulation-several PRIVATE -Wl,--wrap=governor_step)

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-sequence SOURCES test-sequence.c USES cofris-governor LABELS unit)
cofris_test(test-card-plan SOURCES test-card-plan.c USES cofris-governor LABELS unit)
cofris_test(test-governor-several SOURCES test-governor-several.c USES cofris-governor
  LABELS unit)
cofris_test(test-governor SOURCES test-governor.c USES cofris-governor LABELS unit)
cofris_test(test-governor-clock SOURCES test-governor-clock.c USES cofris-governor LABELS unit)
cofris_test(test-governor-property SOURCES test-governor-property.c USES cofris-governor
  LABELS unit)
cofris_test(test-governor-demand SOURCES test-governor-demand.c USES cofris-governor LABELS unit)
cofris_test(test-governor-explain SOURCES test-governor-explain.c USES cofris-governor LABELS unit)
cofris_test(test-policies SOURCES test-policies.c USES cofris-governor LABELS unit)
cofris_test(test-governor-memory SOURCES test-governor-memory.c USES cofris-governor LABELS unit)
target_link_options(test-governor-memory PRIVATE
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
cofris_test(test-record SOURCES test-record.c USES cofris-governor LABELS unit)
add_dependencies(test-record cofris-replay)
cofris_test(test-cap-plan SOURCES test-cap-plan.c USES cofris-governor LABELS unit)
cofris_test(test-cap-factor SOURCES test-cap-factor.c USES cofris-governor LABELS unit)
foreach(part IN ITEMS governor-check self-check)
  cofris_test(test-${part} SOURCES test-${part}.c USES cofris-governor LABELS unit)
endforeach()
cofris_test(test-switch-time SOURCES test-switch-time.c USES cofris-governor LABELS unit)

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-config SOURCES test-config.c USES cofris-config LABELS unit)
cofris_test(test-manager-meter SOURCES test-manager-meter.c USES cofris-daemon-core LABELS unit)
cofris_test(test-holds SOURCES test-holds.c USES cofris-daemon-core LABELS unit)
cofris_test(test-pauses SOURCES test-pauses.c USES cofris-daemon-core LABELS unit)
cofris_test(test-cap-watch SOURCES test-cap-watch.c USES cofris-daemon-core LABELS unit)
cofris_test(test-card-state SOURCES test-card-state.c USES cofris-daemon-core LABELS unit)
cofris_test(test-culprit SOURCES test-culprit.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-foreign SOURCES test-manager-foreign.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-pieces SOURCES test-manager-pieces.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-masks SOURCES test-manager-masks.c USES cofris-daemon-core LABELS unit)
cofris_test(test-service SOURCES test-service.c USES cofris-daemon-loop LABELS unit)
# Each of these waits in real time for the daemon's own intervals; apart, they wait side by side.
foreach(part test-manager test-manager-cap test-manager-check test-manager-doubt test-manager-events
    test-manager-explain test-manager-follow test-manager-groups test-manager-orders
    test-manager-reload test-manager-verify)
  cofris_test(${part} SOURCES ${part}.c test-manager-fixture.c
    USES cofris-daemon-loop cofris-static LABELS unit TIMEOUT 120 WAITS COST 15)
endforeach()

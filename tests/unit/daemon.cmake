# SPDX-License-Identifier: Apache-2.0
cofris_test(test-config SOURCES test-config.c USES cofris-config LABELS unit)
cofris_test(test-manager-meter SOURCES test-manager-meter.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-foreign SOURCES test-manager-foreign.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-pieces SOURCES test-manager-pieces.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager-masks SOURCES test-manager-masks.c USES cofris-daemon-core LABELS unit)
cofris_test(test-manager SOURCES test-manager.c USES cofris-daemon-loop cofris-static LABELS unit
  TIMEOUT 300)
cofris_test(test-ctl SOURCES test-ctl.c USES cofris-base LABELS unit)
add_dependencies(test-ctl cofrisctl)

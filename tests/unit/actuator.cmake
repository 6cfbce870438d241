# SPDX-License-Identifier: Apache-2.0
cofris_test(test-actuator-core SOURCES test-actuator-core.c test-actuator-fake.c
  USES cofris-actuator-core gpu-fixture LABELS unit WAITS)
cofris_test(test-actuator-server SOURCES test-actuator-server.c test-actuator-fake.c
  USES cofris-actuator-core cofris-actuator-client gpu-fixture Threads::Threads LABELS unit WAITS)
cofris_test(test-actuator-io-thread SOURCES test-actuator-io-thread.c
  USES cofris-actuator-core Threads::Threads LABELS unit)
cofris_test(test-actuator-state SOURCES test-actuator-state.c
  USES cofris-actuator-core gpu-fixture LABELS unit)
cofris_test(test-actuator-notify SOURCES test-actuator-notify.c
  USES cofris-actuator-core LABELS unit)

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-actuator-core SOURCES test-actuator-core.c test-actuator-fake.c
  USES cofris-actuator-core gpu-fixture LABELS unit)

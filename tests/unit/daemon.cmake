# SPDX-License-Identifier: Apache-2.0
cofris_test(test-config SOURCES test-config.c USES cofris-config LABELS unit)

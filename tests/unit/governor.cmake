# SPDX-License-Identifier: Apache-2.0
cofris_test(test-sequence SOURCES test-sequence.c USES cofris-governor LABELS unit)

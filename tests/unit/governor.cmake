# SPDX-License-Identifier: Apache-2.0
cofris_test(test-sequence SOURCES test-sequence.c USES cofris-governor LABELS unit)
cofris_test(test-governor-demand SOURCES test-governor-demand.c USES cofris-governor LABELS unit)

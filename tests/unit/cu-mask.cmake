# SPDX-License-Identifier: Apache-2.0
cofris_test(test-cu-mask SOURCES test-cu-mask.c USES cofris-cu-mask LABELS unit)
cofris_test(test-cu-pack SOURCES test-cu-pack.c USES cofris-cu-mask LABELS unit)

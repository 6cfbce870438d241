# SPDX-License-Identifier: Apache-2.0
cofris_test(test-plant-cost SOURCES test-plant-cost.c USES cofris-plant LABELS unit)

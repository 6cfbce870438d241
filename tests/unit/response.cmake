# SPDX-License-Identifier: Apache-2.0
cofris_test(test-grid SOURCES test-grid.c USES cofris-response LABELS unit)
cofris_test(test-surface SOURCES test-surface.c USES cofris-response LABELS unit)
cofris_test(test-table SOURCES test-table.c USES cofris-response LABELS unit TIMEOUT 120)
cofris_test(test-table-tails SOURCES test-table-tails.c USES cofris-response LABELS unit)
cofris_test(test-table-cost SOURCES test-table-cost.c USES cofris-response LABELS unit)
# Random surfaces with a known truth; slow under a sanitizer.
cofris_test(test-table-truth SOURCES test-table-truth.c USES cofris-response LABELS unit TIMEOUT 300
  COST 20)
cofris_test(test-menu SOURCES test-menu.c USES cofris-response LABELS unit)
cofris_test(test-menu-curves SOURCES test-menu-curves.c USES cofris-response LABELS unit)
cofris_test(test-table-batch SOURCES test-table-batch.c USES cofris-response LABELS unit)

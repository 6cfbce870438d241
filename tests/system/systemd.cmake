# SPDX-License-Identifier: Apache-2.0
# Under a real systemd, booted for each case: tests/system/systemd/booted.py.
include(${CMAKE_CURRENT_LIST_DIR}/systemd/systemd-tests.cmake)

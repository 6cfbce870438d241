# SPDX-License-Identifier: Apache-2.0
foreach(part IN ITEMS advance card cost find load profiles random share)
  cofris_test(test-plant-${part} SOURCES test-plant-${part}.c USES cofris-plant LABELS unit)
endforeach()

# Shipped profiles are what their scripts make. Without Python these fail rather than go unseen.
find_program(COFRIS_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
foreach(kind IN ITEMS models loads)
  add_test(NAME profiles-${kind}-are-generated
    COMMAND ${COFRIS_PYTHON} ${PROJECT_SOURCE_DIR}/profiles/${kind}/generate.py --check)
  set_tests_properties(profiles-${kind}-are-generated PROPERTIES TIMEOUT 60 PROCESSORS 2 LABELS unit)
endforeach()

# SPDX-License-Identifier: Apache-2.0
# Debian packages of this very build, made once for all tests of them.
set(packages ${PROJECT_BINARY_DIR}/packages)
foreach(step IN ITEMS build contents lintian)
  add_test(NAME system-packages-${step}
    COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-packages.py ${step}
      --build ${PROJECT_BINARY_DIR} --packages ${packages})
  set_tests_properties(system-packages-${step} PROPERTIES LABELS system TIMEOUT 180
    SKIP_RETURN_CODE 77 FIXTURES_REQUIRED packages)
endforeach()
# The lock: cmake --install and cpack write a manifest into the build folder.
set_tests_properties(system-packages-build PROPERTIES FIXTURES_REQUIRED "" FIXTURES_SETUP packages
  RESOURCE_LOCK install COST 50)
set_tests_properties(system-packages-contents PROPERTIES RESOURCE_LOCK install)

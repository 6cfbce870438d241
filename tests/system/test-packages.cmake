# SPDX-License-Identifier: Apache-2.0
# Debian packages of this very build, made once for all tests of them. Behind systemd.cmake, as some
# of these are under a real systemd.
set(packages ${PROJECT_BINARY_DIR}/packages)
foreach(step IN ITEMS build contents lintian)
  add_test(NAME system-packages-${step}
    COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-packages.py ${step}
      --build ${PROJECT_BINARY_DIR} --packages ${packages})
  set_tests_properties(system-packages-${step} PROPERTIES LABELS system TIMEOUT 180
    SKIP_RETURN_CODE 77)
endforeach()
# The lock: cmake --install and cpack write a manifest into the build folder.
set_tests_properties(system-packages-build PROPERTIES FIXTURES_SETUP packages RESOURCE_LOCK install
  COST 50)
set_tests_properties(system-packages-contents PROPERTIES RESOURCE_LOCK install)
set_tests_properties(system-packages-contents system-packages-lintian
  systemd-packages_from_installation_to_purge systemd-packages_where_services_may_not_start
  systemd-packages_whatever_stands_in_etc systemd-tutorial
  PROPERTIES FIXTURES_REQUIRED packages)
set_tests_properties(systemd-tutorial PROPERTIES COST 60)

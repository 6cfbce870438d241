# SPDX-License-Identifier: Apache-2.0
# C++ is needed only to compare with prometheus-cpp, and left out where that is not installed.
add_executable(bench-channel bench-channel.c)
set_target_properties(bench-channel PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_link_libraries(bench-channel PRIVATE cofris cofris-channel PkgConfig::JANSSON Threads::Threads)
include(CheckLanguage)
check_language(CXX)
pkg_check_modules(PROMETHEUS QUIET IMPORTED_TARGET prometheus-cpp-core)
if(CMAKE_CXX_COMPILER AND PROMETHEUS_FOUND)
  enable_language(CXX)
  add_library(bench-channel-prometheus STATIC bench-channel-prometheus.cc)
  # Instead of the project's options, some of which are for C alone.
  set_target_properties(bench-channel-prometheus PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS ON
    COMPILE_OPTIONS "-Wall;-Wextra;-Werror")
  target_link_libraries(bench-channel-prometheus PUBLIC PkgConfig::PROMETHEUS)
  target_link_libraries(bench-channel PRIVATE bench-channel-prometheus)
  target_compile_definitions(bench-channel PRIVATE HAVE_PROMETHEUS=1)
else()
  message(STATUS "bench-channel: no prometheus-cpp (prometheus-cpp-dev), so nothing to compare with")
  target_compile_definitions(bench-channel PRIVATE HAVE_PROMETHEUS=0)
endif()

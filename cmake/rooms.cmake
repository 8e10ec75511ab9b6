# SPDX-License-Identifier: MIT
# Rooms and floors.
#
#   troupe_room(exchange                      a static library troupe_exchange
#     SOURCES lease.c core.c
#     USES    base rollout proto              the rooms it includes; more than TROUPE_MAY_USE_exchange is refused
#     LIBS    PkgConfig::SQLITE)              libraries from outside (cmake/packages.cmake)
#   troupe_tests(exchange lease core)         tests/unit/exchange/test_lease.c -> ctest exchange.lease, 60 s
#   troupe_fuzz(proto codec)                  tests/fuzz/fuzz_codec.c -> ctest fuzz.codec
#
# A source that is listed but not there fails a ctest (missing.ROOM.FILE) instead of the configuration: one room under
# construction must not stop the work in all the others.
#
# A room may live inside another room's folder (model/tokenizer): its library carries the last part of the name.

# From the ground up. Whatever this table does not name can't be included: floors.ROOM is the test of that.
set(TROUPE_FLOORS base rollout http kernels curriculum model lua proto learner env exchange actor bench reward recipe show run cli)
set(TROUPE_MAY_USE_base "")
set(TROUPE_MAY_USE_rollout base)
set(TROUPE_MAY_USE_http base)
set(TROUPE_MAY_USE_kernels base)
set(TROUPE_MAY_USE_curriculum base rollout)
set(TROUPE_MAY_USE_tokenizer base)
set(TROUPE_MAY_USE_model base kernels tokenizer)
set(TROUPE_MAY_USE_lua base rollout)
set(TROUPE_MAY_USE_proto base rollout)
set(TROUPE_MAY_USE_learner base rollout kernels model)
set(TROUPE_MAY_USE_env base rollout http lua)
set(TROUPE_MAY_USE_exchange base rollout proto)
set(TROUPE_MAY_USE_actor base rollout kernels model tokenizer lua env proto)
set(TROUPE_MAY_USE_reward base rollout lua env proto)
set(TROUPE_MAY_USE_recipe base rollout http kernels curriculum model tokenizer lua proto learner env exchange actor reward)
set(TROUPE_MAY_USE_bench base rollout kernels model tokenizer lua env proto learner actor)
# A run shows itself while it lasts, so run may use show; what it shows can be looked at without a run, so not the reverse.
set(TROUPE_MAY_USE_show ${TROUPE_MAY_USE_recipe} recipe)
set(TROUPE_MAY_USE_run ${TROUPE_MAY_USE_show} show)
set(TROUPE_MAY_USE_cli ${TROUPE_MAY_USE_run} run bench)

# A test's label: unit, integration, fuzz or guard, so that `ctest -L unit` runs one kind and `ctest -LE slow` what takes
# little. Slow is what takes over ten seconds on two cores.
set(TROUPE_SLOW actor.border actor.slow_step run.supervisor env.attacks env.ends env.layers env.python exchange.sim exchange.sim_server
  reward.scorer integration.attacks integration.chaos integration.hostile integration.operator integration.train)
function(troupe_label label)
  foreach(test IN LISTS ARGN)
    set(labels ${label})
    if(test IN_LIST TROUPE_SLOW OR test MATCHES "_emulated$")
      list(APPEND labels slow)
    endif()
    set_tests_properties(${test} PROPERTIES LABELS "${labels}")
  endforeach()
endfunction()

# Keeps of the files in list `var` (relative to `folder`) those that exist; each other one becomes a failing test.
function(troupe_existing var folder)
  set(kept "")
  foreach(file IN LISTS ${var})
    if(EXISTS ${folder}/${file} OR IS_ABSOLUTE ${file})
      list(APPEND kept ${file})
    else()
      message(NOTICE "${folder}/${file} is listed but not there")
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${folder}/${file})
      string(REPLACE "/" "." name ${path})
      add_test(NAME missing.${name} COMMAND ${CMAKE_COMMAND} -E cat ${folder}/${file})
      troupe_label(guard missing.${name})
    endif()
  endforeach()
  set(${var} ${kept} PARENT_SCOPE)
endfunction()

function(troupe_room name)
  cmake_parse_arguments(PARSE_ARGV 1 ROOM "" "" "SOURCES;USES;LIBS")
  get_filename_component(short ${name} NAME)
  if(NOT DEFINED TROUPE_MAY_USE_${short})
    message(FATAL_ERROR "room ${name} has no floor: cmake/rooms.cmake does not know it")
  endif()
  foreach(used IN LISTS ROOM_USES)
    if(NOT used IN_LIST TROUPE_MAY_USE_${short})
      message(FATAL_ERROR "room ${name} may not use ${used} (it may use: ${TROUPE_MAY_USE_${short}})")
    endif()
  endforeach()

  troupe_existing(ROOM_SOURCES ${CMAKE_CURRENT_SOURCE_DIR})
  if(NOT ROOM_SOURCES)
    return()
  endif()
  add_library(troupe_${short} STATIC ${ROOM_SOURCES})
  troupe_compile(troupe_${short})
  list(TRANSFORM ROOM_USES PREPEND troupe_ OUTPUT_VARIABLE uses)
  list(REVERSE uses) # highest floor first: the order a linker wants static libraries in
  target_link_libraries(troupe_${short} PUBLIC ${uses} ${ROOM_LIBS})
  troupe_room_guards(${name} ${short})
endfunction()

# The two guards of a room: who it includes, and that each of its headers compiles alone (and twice).
function(troupe_room_guards name short)
  add_test(NAME floors.${short} COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DROOM=${name}
    "-DALLOWED=${ROOM_USES}" -P ${CMAKE_SOURCE_DIR}/cmake/check_room.cmake)
  set(target troupe_${short})
  add_test(NAME headers.${short} COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DROOM=${name}
    -DCOMPILER=${CMAKE_C_COMPILER} "-DFLAGS=${TROUPE_MARCH};-D_GNU_SOURCE"
    "-DINCLUDES=$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>" -P ${CMAKE_SOURCE_DIR}/cmake/check_headers.cmake)
  set_tests_properties(floors.${short} headers.${short} PROPERTIES TIMEOUT 60)
  troupe_label(guard floors.${short} headers.${short})
endfunction()

function(troupe_tests room)
  if(NOT TROUPE_TESTS)
    return()
  endif()
  get_filename_component(short ${room} NAME)
  foreach(name IN LISTS ARGN)
    set(program test_${short}_${name})
    set(source test_${name}.c)
    troupe_existing(source ${CMAKE_SOURCE_DIR}/tests/unit/${room})
    if(NOT source OR NOT TARGET troupe_${short})
      continue()
    endif()
    add_executable(${program} ${CMAKE_SOURCE_DIR}/tests/unit/${room}/${source})
    troupe_compile(${program})
    target_link_libraries(${program} PRIVATE troupe_${short} troupe_test_support)
    add_test(NAME ${short}.${name} COMMAND ${program})
    troupe_test_settings(${short}.${name})
    troupe_label(unit ${short}.${name})
  endforeach()
endfunction()

# What every ctest of ours runs under; any test may raise its TIMEOUT, with a reason, after this.
function(troupe_test_settings test)
  set(environment TROUPE_SOURCE=${CMAKE_SOURCE_DIR} TROUPE_BUILD=${CMAKE_BINARY_DIR}
    UBSAN_OPTIONS=print_stacktrace=1 "TSAN_OPTIONS=halt_on_error=1 suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan.supp")
  set_tests_properties(${test} PROPERTIES TIMEOUT 60 WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}
    ENVIRONMENT "${environment}")
endfunction()

# With TROUPE_FUZZ the target is a libFuzzer program; otherwise a small driver plays the corpus and seeded mutations of it.
function(troupe_fuzz room)
  if(NOT TROUPE_TESTS)
    return()
  endif()
  get_filename_component(short ${room} NAME)
  foreach(name IN LISTS ARGN)
    set(program fuzz_${name})
    set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set(source fuzz_${name}.c)
    troupe_existing(source ${CMAKE_SOURCE_DIR}/tests/fuzz)
    if(NOT source OR NOT TARGET troupe_${short})
      continue()
    endif()
    add_executable(${program} ${CMAKE_SOURCE_DIR}/tests/fuzz/${source})
    troupe_compile(${program})
    target_link_libraries(${program} PRIVATE troupe_${short} troupe_test_support)
    if(TROUPE_FUZZ)
      target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    else()
      target_sources(${program} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.c)
      add_test(NAME fuzz.${name} COMMAND ${program} ${corpus})
      troupe_test_settings(fuzz.${name})
      troupe_label(fuzz fuzz.${name})
    endif()
  endforeach()
endfunction()

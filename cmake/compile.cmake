# SPDX-License-Identifier: MIT
# How every file of ours is compiled: `troupe_compile(TARGET)`.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# Asserts stay on in a release: they check shapes, not elements, and cost nothing that can be measured. Never -ffast-math:
# a reordered sum or a flushed denormal would make two builds disagree about a gradient.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")
# One binary for every x86-64 machine since 2009; kernels/ compiles its inner loops for each newer one beside it.
set(TROUPE_MARCH "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(TROUPE_MARCH -march=x86-64-v2)
endif()

set(TROUPE_SANITIZE_FLAGS "")
if(TROUPE_SANITIZE STREQUAL "address")
  set(TROUPE_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
elseif(TROUPE_SANITIZE STREQUAL "thread")
  set(TROUPE_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
elseif(TROUPE_SANITIZE)
  message(FATAL_ERROR "TROUPE_SANITIZE: expected address, thread or nothing, found ${TROUPE_SANITIZE}")
endif()
if(TROUPE_SANITIZE) # a report needs lines, no names of variables: a quarter less to compile
  list(APPEND TROUPE_SANITIZE_FLAGS -g1)
endif()
if(TROUPE_COVERAGE) # counted by threads, so atomically
  list(APPEND TROUPE_SANITIZE_FLAGS --coverage -fprofile-update=atomic)
endif()
if(TROUPE_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "TROUPE_FUZZ needs clang (CC=clang), found ${CMAKE_C_COMPILER_ID}")
  endif()
  list(APPEND TROUPE_SANITIZE_FLAGS -fsanitize=fuzzer-no-link)
endif()

find_program(TROUPE_CCACHE ccache)
if(TROUPE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${TROUPE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TROUPE_CCACHE})
endif()

# gcc's warnings are errors; clang, which is here for libFuzzer, only tells of its own.
set(TROUPE_WARNINGS -Wall -Wextra -Wshadow -Wconversion $<$<C_COMPILER_ID:GNU>:-Werror>)

function(troupe_compile target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE TROUPE_VERSION="${PROJECT_VERSION}")
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:${TROUPE_WARNINGS};${TROUPE_MARCH};${TROUPE_SANITIZE_FLAGS}>)
  target_link_options(${target} PUBLIC ${TROUPE_SANITIZE_FLAGS})
  target_link_libraries(${target} PUBLIC Threads::Threads)
endfunction()

# The CUDA language, where it was asked for; kernels/ decides what to build with it.
if(TROUPE_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(TROUPE_WITH_CUDA ON)
  endif()
elseif(TROUPE_CUDA)
  set(TROUPE_WITH_CUDA ON)
endif()
if(TROUPE_WITH_CUDA)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)
  endif()
  enable_language(CUDA)
endif()

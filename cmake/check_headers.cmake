# SPDX-License-Identifier: MIT
# headers.ROOM: every header of a room compiles alone, and twice in one file.
#   cmake -DROOT=source -DROOM=base -DCOMPILER=cc "-DFLAGS=..." "-DINCLUDES=dir;dir" -P check_headers.cmake
# Headers under cuda/ are C++ for two compilers; their own files are the test of those.
file(GLOB_RECURSE headers RELATIVE ${ROOT} ${ROOT}/${ROOM}/*.h)
list(FILTER headers EXCLUDE REGEX "/cuda/")
list(FILTER INCLUDES EXCLUDE REGEX "^$")
list(TRANSFORM INCLUDES PREPEND "-I")
set(failures "")
foreach(header IN LISTS headers)
  execute_process(COMMAND ${COMPILER} -std=gnu17 -Wall -Wextra -Werror -Wno-psabi -fsyntax-only ${FLAGS} -I${ROOT} ${INCLUDES}
    -include ${header} -include ${header} -x c /dev/null WORKING_DIRECTORY ${ROOT}
    RESULT_VARIABLE result ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(APPEND failures "\n${header}:\n${output}")
  endif()
endforeach()
if(failures)
  message(FATAL_ERROR "headers that do not stand alone:${failures}")
endif()
list(LENGTH headers n)
message("${n} headers of ${ROOM} stand alone")

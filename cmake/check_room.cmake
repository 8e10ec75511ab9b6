# SPDX-License-Identifier: MIT
# floors.ROOM: every `#include "room/..."` of a room's files must name the room itself or one of ALLOWED.
#   cmake -DROOT=source -DROOM=exchange "-DALLOWED=base;rollout;proto" -P check_room.cmake
set(patterns c h cu cuh cpp def)
list(TRANSFORM patterns PREPEND ${ROOT}/${ROOM}/*.)
file(GLOB_RECURSE files RELATIVE ${ROOT} ${patterns})
set(failures "")

# `tokenizer` is written model/tokenizer in an include; every other room is its own folder.
list(TRANSFORM ALLOWED REPLACE "^tokenizer$" "model/tokenizer")
foreach(file IN LISTS files)
  file(STRINGS ${ROOT}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*\"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*" "\\1" included "${line}")
    set(good FALSE)
    if(NOT included MATCHES "/")
      set(good TRUE) # a file of the same folder
    endif()
    foreach(room IN LISTS ALLOWED ITEMS ${ROOM})
      if("${included}" MATCHES "^${room}/" AND NOT included MATCHES "(^|/)\\.\\.(/|$)")
        set(good TRUE)
      endif()
    endforeach()
    if(NOT good)
      string(APPEND failures "\n  ${file} includes \"${included}\"")
    endif()
  endforeach()
endforeach()
if(failures)
  string(REPLACE ";" " " allowed "${ALLOWED}")
  message(FATAL_ERROR "room ${ROOM} may include ${ROOM} ${allowed}, but:${failures}")
endif()
list(LENGTH files n)
message("${n} files of ${ROOM} keep to their floor")

# SPDX-License-Identifier: MIT
# troupe_embed(OUT file...): writes OUT, a C file with each file's bytes, and a table of them by name:
#   const struct embedded_file EMBEDDED[] = { { "lib/verify.lua", bytes, length }, ..., { 0 } };
function(troupe_embed out)
  set(arrays "")
  set(rows "")
  set(index 0)
  foreach(file IN LISTS ARGN)
    set(path ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
    file(READ ${path} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char FILE_${index}[] = { ${bytes}0 };\n")
    string(APPEND rows "    { \"${file}\", FILE_${index}, sizeof FILE_${index} - 1 },\n")
    math(EXPR index "${index} + 1")
  endforeach()
  file(CONFIGURE OUTPUT ${out} CONTENT
    "#include \"lua/embedded.h\"\n\n${arrays}\nconst struct embedded_file EMBEDDED[] = {\n${rows}    { 0 },\n};\n" @ONLY)
endfunction()

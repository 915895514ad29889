# perigee_embed(<target> <table> <root> <file>...)
#
# Links files into <target> as the array <table>[] of struct peri_embedded (host/embed.h), with its
# length in <table>_count. Names are paths below <root>; a Lua file is named as the module it is:
# perigee/types.lua is "perigee.types", perigee/init.lua is "perigee".
#
# It is an assembler file because .incbin takes any size at no cost and a change of a file needs
# nothing but assembling again.
function(perigee_embed target table root)
    get_filename_component(root ${root} ABSOLUTE)
    set(blobs "")
    set(entries "")
    set(count 0)
    foreach(file IN LISTS ARGN)
        file(RELATIVE_PATH path ${root} ${file})
        set(name ${path})
        if(path MATCHES "\\.lua$")
            string(REGEX REPLACE "(/init)?\\.lua$" "" name ${path})
            string(REPLACE "/" "." name ${name})
        endif()
        string(APPEND blobs
            "name_${count}: .asciz \"${name}\"\n"
            "chunk_${count}: .asciz \"@${path}\"\n"
            "bytes_${count}: .incbin \"${file}\"\n"
            "end_${count}:\n")
        string(APPEND entries
            "    .quad name_${count}, chunk_${count}, bytes_${count}, end_${count} - bytes_${count}\n")
        math(EXPR count "${count} + 1")
    endforeach()

    set(source ${CMAKE_CURRENT_BINARY_DIR}/${table}.S)
    file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
    .section .rodata
@blobs@
    .balign 8
    .globl @table@_count
@table@_count: .quad @count@

    .section .data.rel.ro, "aw"
    .balign 8
    .globl @table@
@table@:
@entries@
    .section .note.GNU-stack, "", %progbits
]])
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "${ARGN}")
    target_sources(${target} PRIVATE ${source})
endfunction()

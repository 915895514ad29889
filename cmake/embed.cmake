# perigee_embed(<target> <table> <root> <file>...)
#
# Links files into <target> as the array <table>[] of struct peri_embedded (host/embed.h), with its
# length in <table>_count. Names are paths below <root>; a Lua file is named as the module it is:
# perigee/types.lua is "perigee.types", perigee/init.lua is "perigee", and so is what was compiled of
# it (types.luac).
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
        if(path MATCHES "\\.luac?$")
            string(REGEX REPLACE "(/init)?\\.luac?$" "" name ${path})
            string(REPLACE "/" "." name ${name})
            string(REGEX REPLACE "\\.luac$" ".lua" path ${path})
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

# perigee_embed_compiled(<target> <table> <root> <file>...)
#
# The same for what these Lua files are compiled to (cmake/bytecode.c).
function(perigee_embed_compiled target table root)
    get_filename_component(root ${root} ABSOLUTE)
    set(folder ${CMAKE_CURRENT_BINARY_DIR}/compiled)
    set(compiled "")
    foreach(file IN LISTS ARGN)
        file(RELATIVE_PATH path ${root} ${file})
        list(APPEND compiled ${folder}/${path}c)
        get_filename_component(parent ${folder}/${path} DIRECTORY)
        file(MAKE_DIRECTORY ${parent})
    endforeach()
    add_executable(bytecode ${CMAKE_SOURCE_DIR}/cmake/bytecode.c)
    target_link_libraries(bytecode PRIVATE perigee_libraries)
    add_custom_command(OUTPUT ${compiled}
        COMMAND bytecode ${folder} ${root} ${ARGN}
        DEPENDS bytecode ${ARGN}
        COMMENT "Compiling the framework's Lua modules" VERBATIM)
    perigee_embed(${target} ${table} ${folder} ${compiled})
endfunction()

std = "lua54"
max_line_length = false -- stylua's business
exclude_files = { "build*/**" }

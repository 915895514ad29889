std = "lua54"
max_line_length = false -- stylua's business
exclude_files = { "build*/**" }
files["tests/lua/*_test.lua"].globals = { "test" } -- given by tests/lua/run.lua
files["tests/lua/host/*_test.lua"].globals = { "test" }
files["tests/bench/wrk.lua"].globals = { "wrk", "done" }
files["tests/bench/peers/nginx/*.lua"].globals = { "ngx" }

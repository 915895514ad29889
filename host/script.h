/* Runs Lua without a server: the commands of the command line (perigee.cli) and scripts of the
 * user's. */
#ifndef PERI_SCRIPT_H
#define PERI_SCRIPT_H

/* Runs a file inside a loop, as a task that may wait; `argv[0]` is the file, the others reach it as
 * `...` and in the global `arg`. An integer that it returns is the exit code. Returns the exit
 * code. */
int peri_script_run(int argc, char **argv);

/* Runs require("perigee.cli").main(argv[0], ...): a command that is written in Lua. */
int peri_script_command(int argc, char **argv);

#endif

"""What the kernel knows about a process and its descendants: CPU time, memory, sockets.

Nothing here starts or ends a process."""

import os
import pathlib

PROC = pathlib.Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _stat(path):
    """The fields of a stat file from the state on; the name before it may contain anything."""
    return (path / "stat").read_text().rpartition(")")[2].split()


def family(pid):
    """The process and all its living descendants."""
    children = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(entry)[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass  # ended meanwhile
    members = [pid]
    for member in members:
        members += children.get(member, [])
    return members


def _ticks(path, fields):
    stat = _stat(path)
    return sum(int(stat[field]) for field in fields)


def cpu_seconds(pid):
    """User and system time of the process, its descendants, and those it has waited for."""
    own, waited_for = (11, 12), (13, 14)
    ticks = _ticks(PROC / str(pid), waited_for)
    ticks += sum(_ticks(PROC / str(member), own) for member in family(pid))
    return ticks / TICKS_PER_SECOND


def thread_cpu_seconds(pid):
    """User and system time of each living thread, by (process, thread)."""
    return {
        (member, int(thread.name)): _ticks(thread, (11, 12)) / TICKS_PER_SECOND
        for member in family(pid)
        for thread in (PROC / str(member) / "task").iterdir()
    }


def resident_bytes(pid):
    """Resident memory of the process and its descendants. Pages they share count for each."""
    total = 0
    for member in family(pid):
        for line in (PROC / str(member) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def open_sockets(pid):
    """How many socket descriptors the process and its descendants hold."""
    count = 0
    for member in family(pid):
        for descriptor in (PROC / str(member) / "fd").iterdir():
            try:
                count += os.readlink(descriptor).startswith("socket:")
            except FileNotFoundError:
                pass
    return count

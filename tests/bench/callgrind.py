"""Reads callgrind's output: instructions and system calls of each function, without its callees."""

import collections
import pathlib
import re

COMPRESSED = re.compile(r"\((\d+)\)(?: (.*))?$")


class Profile:
    """`functions` maps (object file, function) to [instructions, system calls]."""

    def __init__(self):
        self.functions = collections.defaultdict(lambda: [0, 0])

    def add(self, path):
        self._names = {"ob": {}, "fn": {}}
        self._events = []
        object_file = function = ""
        skip_cost = False
        for line in pathlib.Path(path).read_text(errors="replace").splitlines():
            key, separator, value = line.partition("=")
            if line.startswith("events:"):
                self._events = line.split()[1:]
            elif separator and key == "ob":
                object_file = self._name("ob", value)
            elif separator and key == "fn":
                function = self._name("fn", value)
            elif separator and key == "cob":
                self._name("ob", value)  # may be the line that spells the name out
            elif separator and key == "cfn":
                self._name("fn", value)
            elif key == "calls":
                skip_cost = True  # the next line is what the callee cost, which it reports itself
            elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
                if not skip_cost:
                    self._count(object_file, function, line.split()[1:])
                skip_cost = False

    def _name(self, kind, text):
        number, name = COMPRESSED.match(text).groups()
        if name is not None:
            self._names[kind][number] = name
        return self._names[kind][number]

    def _count(self, object_file, function, costs):
        values = dict(zip(self._events, map(int, costs)))
        entry = self.functions[object_file, function]
        entry[0] += values.get("Ir", 0)
        entry[1] += values.get("sysCount", 0)

    def per_request(self, fewer, requests):
        """What each request cost, where `fewer` is the profile of a run without those requests."""
        return {
            which: [(mine - less) / requests for mine, less in zip(costs, fewer.functions[which])]
            for which, costs in list(self.functions.items())
        }

"""Holds a report of the replay against the failures that are expected.

usage: hold.py REPORT.json EXPECTED

A line of EXPECTED names an exchange as the replay does (tutorial, test, number); what stands behind `#`
in a line of its own is a comment. Prints what differs, and last `N passed, M failed`.
"""

import json
import sys


def main(report, expected):
    with open(expected) as lines:
        known = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    with open(report) as file:
        results = {f"{name} {test} {number}": outcome for name, test, number, outcome, _ in json.load(file)}
    passed = failed = 0
    for exchange, outcome in sorted(results.items()):
        if outcome == "pass" and exchange in known:
            print(f"PASSES  {exchange}: take it out of the expected failures")
            failed += 1
        elif outcome == "pass":
            passed += 1
        elif outcome == "fail" and exchange not in known:
            print(f"FAIL    {exchange}")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

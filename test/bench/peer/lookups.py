"""lookups.py COUNT USERS   Looks COUNT users up by name, at random, through glibc; prints the median, the 99th percentile and
the mean of one look-up in microseconds, and how many were not found."""

import pwd
import random
import sys
import time

count, users = int(sys.argv[1]), int(sys.argv[2])
taken = []
missing = 0
for _ in range(count):
    name = f"user{random.randrange(users)}"
    start = time.perf_counter()
    try:
        found = pwd.getpwnam(name)
        missing += found.pw_name != name
    except KeyError:
        missing += 1
    taken.append((time.perf_counter() - start) * 1e6)
taken.sort()
print(f"{taken[count // 2]:.1f} {taken[count * 99 // 100]:.1f} {sum(taken) / count:.1f} {missing}")

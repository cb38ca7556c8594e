"""Python's multiprocessing with one item per task: two warm processes, chunksize 1. Prints the ms of a map for every line it reads."""
import multiprocessing
import sys
import time


def double(n):
    return str(n * 2)


def main(count):
    items = list(range(count))
    expected = [double(n) for n in items]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for _ in sys.stdin:
            start = time.monotonic()
            results = pool.map(double, items, chunksize=1)
            elapsed = (time.monotonic() - start) * 1000
            if results != expected:
                sys.exit("wrong results")
            print(elapsed, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Python's multiprocessing: two warm processes, its default chunks. Prints the ms of a map, measured here, without the pool's start."""
import multiprocessing
import sys
import time


def double(n):
    return str(n * 2)


def main(count, at_least_ms):
    items = list(range(count))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map(double, items)
        if results != [str(n * 2) for n in items]:
            sys.exit("wrong results")
        maps = 0
        start = time.monotonic()
        while True:
            pool.map(double, items)
            maps += 1
            elapsed = (time.monotonic() - start) * 1000
            if elapsed >= at_least_ms:
                print(elapsed / maps)
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

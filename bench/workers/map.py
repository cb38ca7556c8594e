"""Python's multiprocessing: a process per item, two at a time. Prints the ms, measured here, with the pool's start and end."""
import multiprocessing
import sys
import time

if __name__ == "__main__":
    count = int(sys.argv[1])
    start = time.monotonic()
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        results = pool.map(str, range(count), chunksize=1)
        pool.close()
        pool.join()
    elapsed = time.monotonic() - start
    if results != [str(n) for n in range(count)]:
        sys.exit("wrong results")
    print(elapsed * 1000)

"""The SHA-256 of the file that an item names."""
import hashlib
from forkmap_worker import serve


def digest(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1024 * 1024):
            sha256.update(chunk)
    return sha256.hexdigest()


serve(digest)

"""Serves the items of a CommandWorker of forkmap: serve(handler) calls handler(item) for each.
Items and what the handler returns are bytes or values that JSON can represent."""
import json, os, signal, sys, traceback
from pathlib import Path

# stdin and stdout are for the protocol only: other output goes to stderr, other readers get EOF.
requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.stdout = sys.stderr

class Throttled(Exception):  # Not now: asks to send the item again after this many seconds.
    def __init__(self, seconds=60):
        self.seconds = seconds

def serve(handler):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for number, request in enumerate(map(json.loads, requests)):
            answer = answer_to(request, handler, f"result-{number}")
            print(json.dumps({"id": request["id"], **answer}), file=answers, flush=True)
    finally:  # SIGTERM must not interrupt the work at the end.
        signal.signal(signal.SIGTERM, lambda *_: None)

def answer_to(request, handler, name):
    try:
        file = request.get("item_file")
        content = Path(file).read_bytes() if file else None
        is_json = file and request.get("item_type") != "bytes"
        result = handler(json.loads(content) if is_json else content if file else request["payload"])
        is_bytes = isinstance(result, bytes)
        content = result if is_bytes else json.dumps(result, allow_nan=False).encode()
        if len(content) <= 64 * 1024 and not is_bytes:
            return {"status": "ok", "result": result}
        Path(os.environ["FORKMAP_SCRATCH"], name).write_bytes(content)
        return {"status": "ok", "result_file": name, "result_type": "bytes" if is_bytes else "json"}
    except Throttled as error:
        return {"status": "throttled", "retry_after_secs": error.seconds}
    except Exception as error:
        texts = {"message": str(error), "class": type(error).__name__}
        return {"status": "error", **texts, "stack": traceback.format_exc()}

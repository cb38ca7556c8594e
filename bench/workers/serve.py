"""The program for the CommandWorker and for the loop written by hand: one line in, one line out."""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok", "result": str(request["payload"] * 2)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()

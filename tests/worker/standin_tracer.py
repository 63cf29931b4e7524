"""Stands in for ``worker.tracer.serve``: the same lines, no torch; does what the spec's name says."""

import json
import os
import sys
import time


def trace(number: int) -> dict[str, object]:
    ledger = {"weights": 2000, "activations": 1000}
    return {
        "peak_bytes": 3000,
        "peak_phase": "backward",
        "peak_site": "loss_backward",
        "ledger": ledger,
        "sites": {"loss_backward": 3000},
        "first_step_peak_bytes": 3000,
        "replay": {
            "expandable_segments": False,
            "active_peak_bytes": 3000,
            "reserved_peak_bytes": 4000,
            "smallest_budget_bytes": 3500,
        },
        "timeline": [{"phase": "forward", "bytes_by_category": ledger}],
        "versions": {},
        "seconds": number,
    }


def main() -> int:
    print(json.dumps({"ready": True}), flush=True)
    for number, line in enumerate(sys.stdin, start=1):
        wish = json.loads(line)["spec"]["name"]
        if wish == "die":
            print("last words", file=sys.stderr, flush=True)
            os.abort()
        if wish == "spin":
            while True:
                pass
        if wish == "fat":
            hoard = b"x" * 200_000_000
            time.sleep(30)
            del hoard
        if wish.startswith("slow"):
            time.sleep(3)
        told = {"reason": "no path on meta tensors"} if wish == "untraceable" else {"trace": trace(number)}
        print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

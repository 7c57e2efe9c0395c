"""What merging the stages of a pipeline costs, as ratios to adding them up with the schema.

The peer is the schema's own ``Processing + Processing``, one stage after the other. Both run here,
in programs of their own, on the same files; the peer on fewer, since its time grows with the
square of their number, and it makes a chain of what ran side by side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from aind_data_schema.core.processing import DataProcess

STAGES = 1000
FEW = 100
PROCESSES = 3
OURS = """
import resource, sys, time
from pathlib import Path
from asset_provenance.stages import merge_stages
start = time.perf_counter()
merged = merge_stages([Path(sys.argv[1])], Path(sys.argv[2]))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
      merged.processes)
"""
PEER = """
import resource, sys, time, warnings
from pathlib import Path
from aind_data_schema.core.processing import Processing
warnings.simplefilter("ignore")
start = time.perf_counter()
paths = sorted(Path(sys.argv[1]).iterdir())
whole = Processing.model_validate_json(paths[0].read_bytes())
for path in paths[1:]:
    whole = whole + Processing.model_validate_json(path.read_bytes())
Path(sys.argv[2]).write_text(whole.model_dump_json(indent=3))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
      len(whole.data_processes))
"""


def leave(folder: Path, stages: int) -> float:
    """Write what parallel stages left, about 5 KB each; give the mean size in KB."""
    folder.mkdir()
    for stage in range(stages):
        processes = [
            DataProcess.model_validate(
                {
                    "process_type": "Analysis",
                    "name": f"step-{step}",
                    "stage": "Analysis",
                    "experimenters": ["Example Researcher"],
                    "start_date_time": f"2026-03-0{step + 1}T00:{stage % 60:02}:00Z",
                    "end_date_time": f"2026-03-0{step + 1}T01:{stage % 60:02}:00Z",
                    "code": {
                        "url": "https://example.org/code",
                        "version": "1.0",
                        "parameters": {"stage": stage, "values": [stage] * 150},
                    },
                }
            ).model_dump(mode="json")
            for step in range(PROCESSES)
        ]
        content = {
            "schema_version": "2.3.3",
            "data_processes": processes,
            "dependency_graph": {"step-0": [], "step-1": ["step-0"], "step-2": ["step-1"]},
        }
        (folder / f"stage-{stage:04}_data_process.json").write_text(json.dumps(content, indent=1))
    return sum(path.stat().st_size for path in folder.iterdir()) / stages / 1024


def measure(code: str, folder: Path, output: Path) -> tuple[float, float, int]:
    """Give the seconds that a program takes, its peak memory in MB, and the processes it made."""
    command = [sys.executable, "-c", code, folder, output]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    seconds, memory, processes = answer.stdout.split()
    return float(seconds), float(memory), int(processes)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        print("merge of stages                        s    peak MB   processes   times the schema")
        for stages in (FEW, STAGES):
            folder = Path(place) / f"of-{stages}"
            size = leave(folder, stages)
            ours = measure(OURS, folder, Path(place) / f"out-{stages}")
            name = f"{stages} stages of {size:.1f} KB"
            if stages > FEW:
                print(f"  {name:<30}{ours[0]:9.2f}{ours[1]:11.0f}{ours[2]:12}")
                continue
            peer = measure(PEER, folder, Path(place) / "peer.json")
            print(f"  {name:<30}{ours[0]:9.2f}{ours[1]:11.0f}{ours[2]:12}{ours[0] / peer[0]:19.2f}")
            print(f"  {'  added up with the schema':<30}{peer[0]:9.2f}{peer[1]:11.0f}{peer[2]:12}")


if __name__ == "__main__":
    main()

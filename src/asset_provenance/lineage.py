"""Names and dependencies of processes, and cycles; pure functions over records and graphs.

A graph is the schema's form: each process with the processes that it depends on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from asset_provenance.records import ProcessRecord, ProcessStatus, writer_of

__all__ = [
    "Graph",
    "by_path",
    "clean_graph",
    "common_path",
    "components",
    "cycles",
    "dependencies",
    "latest_uses",
    "unique_names",
    "users_of",
    "written_paths",
]

Graph = dict[str, list[str]]


def unique_names(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Give each name a form of its own: ``fit``, ``fit_1``, ``fit_2``.

    Parameters
    ----------
    names
        In the order in which they are to be counted.
    taken
        Names that none of them may have.
    """
    used = set(taken)
    counts: dict[str, int] = {}
    result = []
    for name in names:
        unique, count = name, counts.get(name, 0)
        while unique in used:
            count += 1
            unique = f"{name}_{count}"
        counts[name] = count
        used.add(unique)
        result.append(unique)
    return result


def dependencies(records: Sequence[ProcessRecord]) -> Graph:
    """Find which process depends on which, by the records' ids; only what was seen or said.

    A process depends on each whose files it was seen to read, or whose results it was given; on
    each that had ended before it started and says it wrote where this one says it reads; and on
    its direct children that completed. A process that reads what it or its parents write does not
    depend on them. What one depends on is in the order of the records.
    """
    by_id = {record.id: record for record in records}
    graph: Graph = {record.id: [] for record in records}
    of_others = _FilesOfOthers(records)
    writers = [(record, _parts(written_paths(record))) for record in records]
    writers = [(record, paths) for record, paths in writers if paths]
    unseen = [(record, _parts(_unseen_outputs(record))) for record in records if record.outputs]
    unseen = [(record, paths) for record, paths in unseen if paths]
    for reader in records:
        above = _ancestors(reader, by_id)
        found = dict.fromkeys([*reader.follows, *of_others.read_by(reader)])
        if reader.reads:
            reads = _parts(reader.reads)
            for writer, paths in writers:
                if _had_ended(writer, reader) and _meet(paths, reads):
                    found[writer.id] = None
        if reader.read_files and unseen:
            # What cannot be seen was said: a tool that nobody knows wrote where it was declared.
            seen = _parts(path.rstrip("/") for path in reader.read_files)
            for writer, paths in unseen:
                if _had_ended(writer, reader) and _meet(paths, seen):
                    found[writer.id] = None
        graph[reader.id].extend(one for one in found if one not in above)
    for child in records:
        parent = child.parent_id
        if parent in graph and child.status is ProcessStatus.COMPLETED:
            graph[parent].append(child.id)
    # In which order they were used may differ from one run of the same to the next.
    place = {record.id: number for number, record in enumerate(records)}
    return {one: sorted(on, key=place.__getitem__) for one, on in clean_graph(graph).items()}


def written_paths(record: ProcessRecord) -> list[str]:
    """Give the paths that a process wrote, as far as it was seen or said."""
    seen = [path.rstrip("/") for path in record.written_files]
    return list(dict.fromkeys([*record.outputs, *seen]))


def _unseen_outputs(record: ProcessRecord) -> list[str]:
    """Give the declared outputs in which a process was not seen to write anything."""
    seen = _parts(record.written_files)
    return [path for path in record.outputs if not _meet(_parts([path]), seen)]


Uses = Mapping[str, Sequence[tuple[str, float]]]
"""By path: the ids of those who used a file, with the time of the last use."""


def by_path(records: Iterable[ProcessRecord], name: str) -> Uses:
    """Give who used which file.

    Parameters
    ----------
    records
        Of processes.
    name
        The field with what is meant: ``"read_files"`` or ``"written_files"``.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for record in records:
        for path, time in getattr(record, name).items():
            found.setdefault(path, []).append((record.id, time))
    return found


def users_of(uses: Uses, path: str) -> list[tuple[str, float]]:
    """Give who used a file, or files in a folder that stands for it."""
    found = list(uses.get(path, ()))
    folder = path.rstrip("/")
    while folder := folder.rpartition("/")[0]:
        found += uses.get(f"{folder}/", ())
    return found


def latest_uses(uses: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Give by path the latest of the times that several have."""
    found: dict[str, float] = {}
    for files in uses:
        for path, time in files.items():
            found[path] = max(time, found.get(path, time))
    return found


class _FilesOfOthers:
    """What was written by other processes of the operating system, for those that read it.

    Inside one of them, who wrote what is known in the order in which it happened; between them,
    only when each wrote or read a file last.
    """

    def __init__(self, records: Sequence[ProcessRecord]) -> None:
        are_several = len({writer_of(record.id) for record in records}) > 1
        self._writers = by_path(records if are_several else (), "written_files")

    def read_by(self, reader: ProcessRecord) -> list[str]:
        """Give the processes elsewhere that had written what this one read."""
        if not self._writers:
            return []
        return [
            writer
            for path, read in reader.read_files.items()
            for writer, written in users_of(self._writers, path)
            if written <= read and writer_of(writer) != writer_of(reader.id)
        ]


def _ancestors(record: ProcessRecord, by_id: Mapping[str, ProcessRecord]) -> set[str]:
    found = {record.id}
    parent = by_id.get(record.parent_id or "")
    while parent is not None:
        found.add(parent.id)
        parent = by_id.get(parent.parent_id or "")
    return found


def _had_ended(writer: ProcessRecord, reader: ProcessRecord) -> bool:
    return writer.end_date_time is not None and writer.end_date_time <= reader.start_date_time


def _parts(paths: Iterable[str]) -> list[tuple[str, ...]]:
    return [PurePosixPath(path).parts for path in paths]


def _meet(outputs: list[tuple[str, ...]], reads: list[tuple[str, ...]]) -> bool:
    """Say whether one path that was written is, holds, or lies in one that is read."""
    for output in outputs:
        for read in reads:
            shared = min(len(output), len(read))
            if output[:shared] == read[:shared]:
                return True
    return False


def clean_graph(graph: Mapping[str, Iterable[str]]) -> Graph:
    """Drop edges to nobody, from a process to itself, doubled ones, and those that close a cycle.

    Nodes and edges keep their order, and the first edges of a cycle are kept.
    """
    known = {
        node: [target for target in dict.fromkeys(targets) if target in graph and target != node]
        for node, targets in graph.items()
    }
    # To look for the way back from every edge takes long, and few graphs have any.
    tangled = _tangled(known)
    cleaned: Graph = {node: [] for node in graph}
    for node, targets in known.items():
        for target in targets:
            if not {node, target} <= tangled or not _reaches(cleaned, target, node):
                cleaned[node].append(target)
    return cleaned


def _tangled(graph: Graph) -> set[str]:
    """Give the nodes that cycles and the ways between cycles lead through, and no others."""
    left = dict.fromkeys(graph)
    followers: Graph = {node: [] for node in graph}
    for node, targets in graph.items():
        for target in targets:
            followers[target].append(node)
    for there, back in ((graph, followers), (followers, graph)):
        open_ends = {node: sum(other in left for other in there[node]) for node in left}
        free = [node for node, count in open_ends.items() if not count]
        while free:
            node = free.pop()
            del left[node]
            for other in back[node]:
                if other in left:
                    open_ends[other] -= 1
                    if not open_ends[other]:
                        free.append(other)
    return set(left)


def _reaches(graph: Graph, start: str, goal: str) -> bool:
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            waiting.extend(graph[node])
    return False


def common_path(paths: Sequence[str]) -> str | None:
    """Give the one path, or the nearest folder that holds them all.

    None for no paths, and where that folder is the whole asset, which would say nothing.
    """
    shared = []
    for level in zip(*_parts(paths), strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared) or None


def components(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Give the strongly connected components, each after all that it leads to (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    waiting: dict[str, None] = {}
    found: list[list[str]] = []
    for start in graph:
        if start in order:
            continue
        path = [(start, iter(graph[start]))]
        order[start] = low[start] = len(order)
        waiting[start] = None
        while path:
            node, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == order[node]:
                    component: list[str] = []
                    while not component or component[-1] != node:
                        component.append(waiting.popitem()[0])
                    found.append(component[::-1])
            elif target not in order:
                order[target] = low[target] = len(order)
                waiting[target] = None
                path.append((target, iter(graph[target])))
            elif target in waiting:
                low[node] = min(low[node], order[target])
    return found


def cycles(graph: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Give cycles until each edge that lies on one is in one of them; the shortest for each.

    Each begins and ends with the same node.
    """
    for component in reversed(components(graph)):
        members = set(component)
        told: set[tuple[str, str]] = set()
        for node in component:
            for target in graph[node]:
                if target in members and (node, target) not in told:
                    cycle = [node, *_way(graph, target, node, members)]
                    told.update(pairwise(cycle))
                    yield cycle


def _way(graph: Mapping[str, Sequence[str]], start: str, end: str, within: set[str]) -> list[str]:
    """Give the shortest way from one node to another."""
    came_from: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue and end not in came_from:
        node = queue.popleft()
        for target in graph[node]:
            if target in within and target not in came_from:
                came_from[target] = node
                queue.append(target)
    way: list[str] = []
    step: str | None = end
    while step is not None:
        way.append(step)
        step = came_from[step]
    return way[::-1]

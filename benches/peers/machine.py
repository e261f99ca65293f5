"""What the machine tells: processor time, the disk's own speed, and what it is."""

import os
import platform
import time

TICKS = os.sysconf('SC_CLK_TCK')
BLOCK = 4096
# Overwritten round and round, so that the file system has nothing to do but to flush.
BLOCKS = 4096


def _stat(pid):
    """The parent, and the processor time in ticks: its own, and that of its children that have ended."""
    with open(f'/proc/{pid}/stat') as file:
        # The name before the last bracket may hold anything.
        fields = file.read().rpartition(')')[2].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def cpu_seconds(roots):
    """The processor time of these processes and of all that they have started."""
    stats = {}
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            stats[int(name)] = _stat(name)
        except (FileNotFoundError, ProcessLookupError):
            pass
    ours = set(roots)
    while more := {pid for pid, (parent, _) in stats.items() if parent in ours} - ours:
        ours |= more
    return sum(stats[pid][1] for pid in ours if pid in stats) / TICKS


def fdatasyncs_per_second(folder, seconds=1.0):
    """How often the disk takes a block and says that it is durable, one after the other."""
    path = os.path.join(folder, 'fdatasync')
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, bytes(BLOCK * BLOCKS))
        os.fsync(file)
        block, count, begun = os.urandom(BLOCK), 0, time.monotonic()
        while (took := time.monotonic() - begun) < seconds:
            os.pwrite(file, block, count % BLOCKS * BLOCK)
            os.fdatasync(file)
            count += 1
        return count / took
    finally:
        os.close(file)
        os.unlink(path)


def file_system(folder):
    """The type of the file system that a folder is in."""
    found = ('', 'unknown')
    with open('/proc/mounts') as mounts:
        for line in mounts:
            _, place, kind = line.split()[:3]
            if os.path.commonpath([place, os.path.realpath(folder)]) == place and len(place) >= len(found[0]):
                found = (place, kind)
    return found[1]


def processor():
    with open('/proc/cpuinfo') as file:
        names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    return names[0] if names else platform.machine()


def facts(folder):
    """The line without which figures mean nothing."""
    return ', '.join([
        f'{os.cpu_count()} cores ({processor()})',
        f'{platform.system()} {platform.release()}',
        file_system(folder),
        time.strftime('%Y-%m-%d'),
    ])

"""Why a job failed, from the last lines of its log, how it ended and what the host knows. Pure; unknown stays unknown.

A rule is a pattern over one line; the last line that any rule finds decides, since tracebacks end with their error.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from remote_agent.protocol import checks
from remote_agent.protocol.ends import Cause, Evidence

TAIL_BYTES = 64 * 1024
"""So much of a log's end is looked at."""
_LONGEST_LINE = 300


_NO_MEMORY = "the host had not enough memory"
_NO_NETWORK = "something could not be reached over the network"
_APART = "the processes of the training could not talk to each other"
_RULES: Tuple[Tuple[str, str, str], ...] = (
    ("setup_failed", "the setup of its host failed", r"^foundations: a line of the setup of this host failed"),
    ("cuda_oom", "the GPU had not enough memory", r"CUDA out of memory|CUDA_ERROR_OUT_OF_MEMORY"),
    ("cuda_oom", "the GPU had not enough memory", r"RESOURCE_EXHAUSTED: Out of memory|HIP out of memory"),
    ("cuda_oom", "the GPU had not enough memory", r"cublas(Create|Status).*ALLOC_FAILED|cuDNN.*ALLOC_FAILED"),
    ("cuda_error", "an error of CUDA", r"CUDA error: (?!out of memory)|CUDNN_STATUS_(?!ALLOC)|CUBLAS_STATUS_(?!ALLOC)"),
    ("no_gpu", "the program found no GPU", r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device"),
    ("no_gpu", "the program found no GPU", r"Torch not compiled with CUDA enabled"),
    ("gpu_driver", "the GPU driver does not fit the program", r"driver .*is too old|driver version is ins"),
    ("nccl", _APART, r"NCCL (error|WARN.*(fail|error))|ncclInt"),
    ("nccl", _APART, r"ProcessGroupNCCL.*timeout|Connection closed by peer \["),
    ("shared_memory", "too little shared memory for the data loader", r"(insufficient|out of) shared memory"),
    ("host_oom", _NO_MEMORY, r"^MemoryError|DefaultCPUAllocator: can't allocate memory"),
    ("host_oom", _NO_MEMORY, r"Cannot allocate memory|std::bad_alloc|Unable to allocate .* for an array"),
    ("worker_killed", "a data loader's process was killed, often for memory", r"DataLoader worker .* (killed|exited)"),
    ("disk_full", "the disk was full", r"No space left on device|Disk quota exceeded"),
    ("module_missing", "a Python package is missing", r"^(ModuleNotFoundError|ImportError): "),
    ("module_missing", "a Python package is missing", r": No module named '?[\w.]+'?$"),
    ("file_missing", "a file is missing", r"^FileNotFoundError: |: No such file or directory$|can't open file"),
    ("permission", "something may not be read, written or run", r"^PermissionError: |: Permission denied$"),
    ("network", _NO_NETWORK, r"ConnectionError|MaxRetryError|URLError"),
    ("network", _NO_NETWORK, r"failure in name resolution|Could not resolve host"),
    ("port_taken", "a network port is taken", r"Address already in use"),
    ("arguments", "the command line was not understood", r"^usage: |: error: (unrecognized|the following) arguments"),
    ("syntax", "the program has a syntax error", r"^(SyntaxError|IndentationError|TabError): "),
    ("shape", "shapes of arrays do not fit", r"shapes?.* (cannot be multiplied|not aligned)|size mismatch"),
    ("shape", "shapes of arrays do not fit", r"could not be broadcast"),
    ("nan", "a number was not finite", r"(?i)(loss|gradient)s? (is|are|became|contains?) (nan|inf)|FloatingPointError"),
    ("assertion", "an assertion did not hold", r"^AssertionError"),
    ("interrupted", "it was interrupted", r"^KeyboardInterrupt"),
    ("exception", "an exception was not caught", r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?::|$)"),
)  # fmt: skip
_COMPILED = [
    (code, words, re.compile(pattern, re.IGNORECASE if code == "nan" else 0)) for code, words, pattern in _RULES
]
_MEANT_BY_CODE = {126: ("permission", "the command cannot be run"), 127: ("command_missing", "a command was not found")}
_SIGNALS = {
    "SIGSEGV": ("crash", "it crashed: it touched memory that is not its own"),
    "SIGBUS": ("crash", "it crashed with a bus error: shared memory or a mapped file was cut short"),
    "SIGABRT": ("crash", "it aborted itself"),
    "SIGILL": ("crash", "it crashed: the processor does not know an instruction; was it built for another one?"),
    "SIGFPE": ("crash", "it crashed in an arithmetic operation"),
    "SIGXCPU": ("limit", "it reached a limit of CPU time"),
    "SIGXFSZ": ("limit", "it reached a limit of file size"),
}


def explain(tail: bytes, evidence: Evidence) -> Optional[Cause]:
    """Return why a job that failed did so, as far as it can be known; None when nothing tells.

    Args:
        tail: the last bytes of its log, at most TAIL_BYTES.
        evidence: what else is known.
    """
    if evidence.oom_kills:
        words = f"the kernel killed it for memory; it used {_gigabytes(evidence.peak_memory)} at most"
        return Cause("oom_killed", words, "", evidence)
    by_log = _by_log(tail)
    if by_log is not None:
        code, words, line = by_log
        return Cause(code, words, line, evidence)
    if evidence.signal in _SIGNALS:
        return Cause(*_SIGNALS[evidence.signal], "", evidence)
    if evidence.signal == "SIGKILL":
        return _killed(evidence)
    if evidence.disk_free is not None and evidence.disk_free < 1 << 20:
        return Cause("disk_full", "the disk was full when it ended", "", evidence)
    if evidence.exit_code in _MEANT_BY_CODE:
        return Cause(*_MEANT_BY_CODE[evidence.exit_code], "", evidence)
    return None


def _by_log(tail: bytes) -> Optional[Tuple[str, str, str]]:
    """Return (code, words, line) of the last line that a rule knows; a vague rule gives way to one just before."""
    lines = tail.decode("utf-8", "replace").replace("\r", "\n").split("\n")
    vague: Optional[Tuple[str, str, str]] = None
    for line in reversed(lines[-400:]):
        line = line.strip()[:2000]
        for code, words, pattern in _COMPILED:
            if pattern.search(line) and not (code == "syntax" and _is_of_data(lines)):
                match = (code, words, checks.writable(line[:_LONGEST_LINE]))
                if code != "exception":
                    return match if vague is None or code in _STRONGER else vague
                vague = vague or match
                break
    return vague


def _is_of_data(lines: List[str]) -> bool:
    """Return whether a SyntaxError is of a text that the program read (``ast.literal_eval``), not of the program."""
    files = [line for line in lines[-20:] if line.lstrip().startswith('File "')]
    return bool(files) and files[-1].lstrip().startswith(('File "<unknown>"', 'File "<string>"'))


_STRONGER = {"cuda_oom", "host_oom", "disk_full", "shared_memory", "worker_killed", "nccl", "cuda_error"}
"""Causes that a later, general exception is only the consequence of."""


def _killed(evidence: Evidence) -> Cause:
    if evidence.memory_total and evidence.peak_memory > 0.8 * evidence.memory_total:
        share = evidence.peak_memory / evidence.memory_total
        words = f"killed from outside; it used {share:.0%} of the host's memory, so perhaps by the kernel for memory"
        return Cause("oom_killed", words, "", evidence)
    return Cause("killed", "killed from outside; who did it is unknown", "", evidence)


def _gigabytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB"


def known_codes() -> List[str]:
    """Return all codes that a cause may have."""
    codes = [code for code, _, _ in _RULES] + [code for code, _ in _SIGNALS.values()]
    return sorted({*codes, *(code for code, _ in _MEANT_BY_CODE.values()), "oom_killed", "killed"})

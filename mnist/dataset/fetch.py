"""Downloading published files: mirrors in order, retries, and only files of the published size and SHA-256 accepted."""

import hashlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import fsspec
from tqdm import tqdm

from mnist.core.errors import UserError
from mnist.core.paths import ROOT
from mnist.dataset.catalogue import Dataset, PublishedFile, find_other

SKLEARN_DIGITS = "scikit-learn://digits/"  # the data set within scikit-learn's own package
CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
RETRY_AFTER = (1.0, 3.0)  # seconds


class SourceError(Exception):
    """A source did not deliver the file: `retryable` if another try may succeed, `differs` if its file differs."""

    def __init__(self, reason: str, *, retryable: bool, differs: bool = False) -> None:
        super().__init__(reason)
        self.retryable, self.differs = retryable, differs


def list_sources(dataset: Dataset) -> list[str]:
    """The base addresses to try: the environment variable DATASET_MIRROR if set, else the mirrors, in order."""
    own = os.environ.get("DATASET_MIRROR")
    if own and (other := find_other(Path(own), dataset)):
        used = f"using the mirrors of {dataset.title}"
        print(f"download: DATASET_MIRROR={own} has the files of {other}; {used}", flush=True)
        own = None
    return [own] if own else [_locate(mirror) for mirror in dataset.mirrors]


def _locate(mirror: str) -> str:
    """The address of a mirror: a relative path is one from the project's root."""
    if "://" in mirror or Path(mirror).is_absolute():
        return mirror
    # DVC runs experiments in a copy in .dvc/tmp/exps, which has only files that are in git.
    projects = [ROOT, *(top for top in ROOT.parents if ROOT.relative_to(top).parts[0] == ".dvc")]
    folders = [project / mirror for project in projects]
    return str(next(filter(Path.is_dir, folders), folders[0]))


def fetch(
    name: str,
    published: PublishedFile,
    sources: Sequence[str],
    target: Path,
    *,
    timeout: float = TIMEOUT_SECONDS,
    retry_after: Sequence[float] = RETRY_AFTER,
) -> str:
    """Download one file to `target` from the first source that has the published bytes; return that source.

    Sources are folders, or base addresses that fsspec opens. If all fail, those that may succeed are tried again after
    each of the seconds in `retry_after`; `timeout` is in seconds without a byte. UserError if no source has the file,
    with the reason of each; OSError if the target cannot be written. Only after success is its content valid.
    """
    reasons: dict[str, str] = {}
    promising, differs, unavailable = list(sources), False, not sources
    for wait in (0.0, *retry_after):
        if promising:
            time.sleep(wait)
        for source in tuple(promising):
            try:
                bar = tqdm(total=published.size, desc=name, unit="B", unit_scale=True, leave=False, disable=None)
                with target.open("wb") as out, bar:
                    for chunk in _read(f"{source.rstrip('/')}/{name}", published, timeout):
                        out.write(chunk)
                        bar.update(len(chunk))
                return source
            except SourceError as error:
                reasons[source] = str(error)  # and not the error, which would keep the connection open
                differs |= error.differs
                unavailable |= error.retryable or not error.differs
                if not error.retryable:
                    promising.remove(source)
    listed = "\n".join(f"  {source}: {reason}" for source, reason in reasons.items())
    listed = listed or "  (the catalogue lists no mirror, and DATASET_MIRROR is not set)"
    remedies = []
    if differs:
        remedies.append("If a file is the right one, correct its size and sha256 in the data set's file in datasets/.")
    if os.environ.get("DATASET_MIRROR") in sources:
        remedies.append("Correct DATASET_MIRROR, or unset it to use the mirrors of the data set.")
    elif unavailable:
        on_the_web = not sources or any("://" in source for source in sources)
        copies = "Get the files by `dvc pull` if DVC has a remote, or `make dataset` from the same images"
        first = "Check the network" if on_the_web else copies
        remedies.append(f"{first}, or set DATASET_MIRROR to a folder or an address that has the files.")
    raise UserError(f"no source has {name} as published:\n{listed}\n{' '.join(remedies)}")


def _read(address: str, published: PublishedFile, timeout: float) -> Iterator[bytes]:
    """Yield a file's bytes from one address; raise SourceError if it is unavailable or differs from the published."""
    digest, size = hashlib.sha256(), 0
    try:
        with _open(address, timeout) as file:
            while size <= published.size and (chunk := file.read(CHUNK_BYTES)):
                size += len(chunk)
                digest.update(chunk)
                yield chunk
    except Exception as error:  # which types fsspec's many file systems raise is not documented
        raise _source_error(error, timeout) from None
    if size > published.size:
        raise SourceError(f"more than the {published.size} bytes published", retryable=False, differs=True)
    if size < published.size:
        raise SourceError(f"ended after {size} of {published.size} bytes", retryable=True, differs=True)
    if digest.hexdigest() != published.sha256:
        reason = f"wrong content: SHA-256 {digest.hexdigest()}, expected {published.sha256}"
        raise SourceError(reason, retryable=False, differs=True)


def _source_error(error: Exception, timeout: float) -> SourceError:
    """The reason why an address could not be read, and whether a retry may help."""
    match error:
        case FileNotFoundError() | HTTPError(code=404):
            return SourceError("not found", retryable=False)
        case TimeoutError() | URLError(reason=TimeoutError()):
            return SourceError(f"no answer within {timeout:g} s", retryable=True)
        case HTTPError(code=code):
            return SourceError(str(error), retryable=code >= 500 or code in (408, 429))
        case URLError(reason=reason):
            return SourceError(f"cannot connect: {reason}", retryable=True)
    lasting = isinstance(error, (IsADirectoryError, PermissionError)) or not isinstance(error, (HTTPException, OSError))
    return SourceError(str(error) or type(error).__name__, retryable=not lasting)


def _open(address: str, timeout: float) -> IO[bytes]:
    """Open an address as a stream."""
    if address.startswith(SKLEARN_DIGITS):
        from mnist.dataset.digits import digits_files  # here, because importing scikit-learn takes a second

        return io.BytesIO(digits_files()[address.removeprefix(SKLEARN_DIGITS)])
    if address.startswith(("http://", "https://")):  # fsspec would ask for the size first
        return urlopen(address, timeout=timeout)  # noqa: S310, checked above
    return fsspec.open(address, "rb")

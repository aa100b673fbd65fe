"""Fetching published files: sources in order, retries, and nothing accepted but the right bytes."""

import hashlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import fsspec
from tqdm import tqdm

from stages.lib.catalogue import PublishedFile
from stages.lib.errors import UserError

DIGITS = "scikit-learn://digits/"  # the source within scikit-learn's own package
CHUNK = 1 << 18  # bytes read at a time
STALL = 30.0  # seconds without a byte after which a source is given up
RETRY_AFTER = (1.0, 3.0)  # seconds before the second and the third try


class SourceError(Exception):
    """A source did not deliver; `passing` says whether another try may help."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def sources_of(mirrors: Sequence[str]) -> list[str]:
    """The base addresses to try, in order: the environment variable DATASET_MIRROR if it is set, then the mirrors."""
    own = os.environ.get("DATASET_MIRROR")
    return [own, *mirrors] if own else list(mirrors)


def fetch(
    name: str,
    published: PublishedFile,
    sources: Sequence[str],
    target: Path,
    *,
    stall: float = STALL,
    retry_after: Sequence[float] = RETRY_AFTER,
) -> str:
    """Bring one file from the first source that has it right.

    Args:
        name: the file's name, which follows a source's base address.
        published: its size and SHA-256.
        sources: base addresses, tried in order: a folder, or anything that fsspec opens.
        target: where to write it; what is there is only right once this returns.
        stall: seconds without a byte after which a source is given up.
        retry_after: seconds to wait before each further try of a source.

    Returns:
        The source that it came from.

    Raises:
        UserError: no source has it; the text lists each with its reason.
        OSError: the target cannot be written.
    """
    reasons = []
    for source in sources:
        for wait in (*retry_after, None):
            try:
                with (
                    target.open("wb") as out,
                    tqdm(total=published.size, desc=name, unit="B", unit_scale=True, leave=False, disable=None) as bar,
                ):
                    for chunk in _read(f"{source.rstrip('/')}/{name}", published, stall):
                        out.write(chunk)
                        bar.update(len(chunk))
                return source
            except SourceError as error:
                reason = str(error)
                if wait is None or not error.passing:
                    break
                time.sleep(wait)
        reasons.append(f"  {source}: {reason}")
    listed = "\n".join(reasons) or "  (the catalogue names no mirror, and DATASET_MIRROR is not set)"
    raise UserError(
        f"no source has {name} as published:\n{listed}\n"
        "Check the network, or set DATASET_MIRROR to a folder or an address that has the files."
    )


def _read(address: str, published: PublishedFile, stall: float) -> Iterator[bytes]:
    """Yield a file's bytes from one address; raise SourceError where they are not to be had, or not the right ones."""
    digest = hashlib.sha256()
    size = 0
    try:
        with _open(address, published.size, stall) as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > published.size:
                    raise SourceError(f"more than the {published.size} bytes published", passing=False)
                digest.update(chunk)
                yield chunk
    except FileNotFoundError:
        raise SourceError("not found", passing=False) from None
    except TimeoutError:
        raise SourceError(f"no answer within {stall:g} s", passing=True) from None
    except aiohttp.ClientResponseError as error:
        passing = error.status >= 500 or error.status in (408, 429)
        raise SourceError(f"HTTP status {error.status} {error.message}", passing=passing) from None
    except aiohttp.InvalidURL as error:
        raise SourceError(f"leads to an address that is not http: {error.url}", passing=False) from None
    except (IsADirectoryError, PermissionError) as error:
        raise SourceError(str(error), passing=False) from None
    except (aiohttp.ClientError, OSError) as error:
        raise SourceError(str(error) or type(error).__name__, passing=True) from None
    except SourceError:
        raise
    except Exception as error:  # what fsspec's many kinds of sources raise for an odd address is not documented
        raise SourceError(str(error) or type(error).__name__, passing=False) from None
    if size < published.size:
        raise SourceError(f"ended after {size} of {published.size} bytes", passing=True)
    if digest.hexdigest() != published.sha256:
        raise SourceError(f"wrong content: SHA-256 {digest.hexdigest()}, published {published.sha256}", passing=False)


def _open(address: str, size: int, stall: float):  # noqa: ANN202, fsspec has no type for its files
    """Open an address as a stream."""
    if address.startswith(DIGITS):
        from stages.lib.digits import digits_files  # here, because importing scikit-learn takes a second

        return io.BytesIO(digits_files()[address.removeprefix(DIGITS)])
    if not address.startswith(("http://", "https://")):
        return fsspec.open(address, "rb")
    session = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=stall, sock_read=stall),
        "trust_env": True,  # a company's proxy
        # A server that labels a .gz file as compressed content must not have it unpacked on the way.
        "auto_decompress": False,
        "headers": {"Accept-Encoding": "identity"},
    }
    # With the size given and no blocks, fsspec streams one GET, without asking for the size first.
    return fsspec.filesystem("http", client_kwargs=session).open(address, block_size=0, size=size)

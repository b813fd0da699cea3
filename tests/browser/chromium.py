"""A browser without a window, for tests of the pages: what it shows at the end, and what it complained about."""

import asyncio
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # what is not ours cannot be reached
    "--virtual-time-budget=8000",
)
TIMEOUT_S = 90


class Shown(NamedTuple):
    """The page after its scripts ran, and the lines of the console."""

    html: str
    console: list[str]


async def show(url: str, profile: Path) -> Shown:
    """Open a page; skips the test where no browser is installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            html, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = log.decode("utf-8", "replace").splitlines()
    return Shown(html.decode("utf-8", "replace"), [line for line in lines if "CONSOLE" in line])

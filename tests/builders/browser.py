"""A headless Chromium, driven through its DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium")

SECONDS = 20.0
"""That anything in the browser may take."""


class BrowserError(Exception):
    """What the browser says went wrong."""


class Page:
    """The only tab. requests: URLs that it asked for; problems: what its console says.

    Among the latter are violations of the content security policy.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Stops listening to the browser."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
            else:
                self._note(event.get("method"), event.get("params", {}))

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        if method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_json(
            {"id": number, "method": method, "params": parameters}
        )
        async with asyncio.timeout(SECONDS):
            event = await answer
        if "error" in event:
            raise BrowserError(f"{method}: {event['error']}")
        return event["result"]

    async def open(self, url: str) -> None:
        """Opens an address and waits until all of it is there."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        # As if its window were in front: else no element gets the focus.
        await self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def run(self, expression: str) -> Any:
        """Returns the value of an expression in JavaScript."""
        result = await self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            raise BrowserError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until an expression is true."""
        try:
            async with asyncio.timeout(SECONDS):
                while not await self.run(f"Boolean({expression})"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            text = await self.run("document.body.innerText")
            raise BrowserError(f"never true: {expression}; the page: {text}") from error

    async def text(self, selector: str) -> str:
        """Returns the text of the first element that matches."""
        return await self.run(
            f"document.querySelector({json.dumps(selector)}).innerText"
        )

    async def middle(self, selector: str) -> tuple[float, float]:
        """Scrolls to an element; returns where its middle is."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.run(f"{found}.scrollIntoView({{block: 'center'}})")
        # What is scrolled is under the mouse when it is painted.
        for _ in range(2):
            await self.run("new Promise(requestAnimationFrame)")
        box = await self.run(f"{found}.getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    async def hover(self, selector: str) -> None:
        """Moves the mouse over an element."""
        x, y = await self.middle(selector)
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def click(self, selector: str) -> None:
        """Clicks an element with the mouse."""
        x, y = await self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    async def press(self, key: str, code: int, **more: Any) -> None:
        """Presses a key. code: its number in Windows, as the protocol wants it."""
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **more,
            )

    async def drop(self, *files: Path) -> None:
        """Drops files in the middle of the page, as from a file manager."""
        data = {
            "items": [],
            "files": [str(file) for file in files],
            "dragOperationsMask": 1,
        }
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.call(
                "Input.dispatchDragEvent", type=kind, x=200, y=300, data=data
            )

    async def choose(self, selector: str, *files: Path) -> None:
        """Chooses files in an input."""
        document = await self.call("DOM.getDocument")
        node = await self.call(
            "DOM.querySelector", nodeId=document["root"]["nodeId"], selector=selector
        )
        await self.call(
            "DOM.setFileInputFiles",
            files=[str(file) for file in files],
            nodeId=node["nodeId"],
        )

    async def resize(self, width: int, height: int) -> None:
        """Gives the window a size in pixels; a narrow one is that of a phone."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def prefer(self, scheme: str) -> None:
        """Prefers light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path, *, is_whole: bool = True) -> None:
        """Writes a PNG. is_whole: of all the page, also below the window."""
        taken = await self.call(
            "Page.captureScreenshot", captureBeyondViewport=is_whole
        )
        path.write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def opened_page(url: str) -> AsyncIterator[Page]:
    """Starts a Chromium with a page; ends it afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",  # which root may not have
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                socket = await _connect(session, port)
                page = Page(socket)
                await page.open(url)
                yield page
                await page.close()
                await socket.close()
        finally:
            process.terminate()
            await process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(SECONDS):
        while not file.exists() or not file.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])


async def _connect(
    session: aiohttp.ClientSession, port: int
) -> aiohttp.ClientWebSocketResponse:
    async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
        targets = await response.json()
    (address,) = [
        target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"
    ]
    return await session.ws_connect(address, max_msg_size=0)

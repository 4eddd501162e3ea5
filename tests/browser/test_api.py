"""The served API as a program and as an agent uses it: the README's own example, and MCP's tools."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_example_runs_follows_and_fetches(address, capsys) -> None:
    (example,) = re.findall(r"```python\n(from gradio_client.*?)```", README.read_text("utf-8"), re.DOTALL)
    example = example.replace("http://127.0.0.1:7860", address)
    held: dict = {}
    exec(compile(example, str(README), "exec"), held)
    assert "done" in capsys.readouterr().out
    assert Image.open(held["path"]).size == (512, 512)


def test_an_agent_finds_the_tools_and_can_use_them(address) -> None:
    mcp = pytest.importorskip("mcp", reason="mcp is not installed")
    from mcp.client.streamable_http import streamable_http_client

    async def talk() -> None:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert sorted(tools) == ["fetch", "follow", "picture", "run"]
            assert "prompt" in tools["run"].inputSchema["properties"]
            asked = {"prompt": "green hills by day", "target": 256, "num_inference_steps": 2, "seed": 5}
            answer = await session.call_tool("run", asked)
            assert not answer.isError and len(answer.content[0].text) >= 22
            refused = await session.call_tool("run", {"prompt": ""})
            assert "prompt is empty" in str(refused.content)

    # In a thread of its own: the browser of other tests holds this one's loop.
    with ThreadPoolExecutor(1) as apart:
        apart.submit(lambda: asyncio.run(asyncio.wait_for(talk(), 120))).result()

"""A chain of steps in LangGraph with a checkpoint in SQLite after each, waited for before the next one begins.

It runs in an environment of its own: `python checkpointed.py FOLDER STEPS` prints steps per second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class Count(TypedDict):
    """How many steps there were, and how many there are to be."""

    done: int
    wanted: int


async def go(state: Count) -> dict[str, int]:
    """Do nothing but count."""
    return {"done": state["done"] + 1}


async def choose(state: Count) -> str:
    """Go round until there were enough."""
    return "go" if state["done"] < state["wanted"] else END


async def run(folder: Path, steps: int) -> float:
    """Run the chain; return steps per second."""
    graph = StateGraph(Count)
    graph.add_node("go", go)
    graph.add_edge(START, "go")
    graph.add_conditional_edges("go", choose, ["go", END])
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        chain = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "one"}, "recursion_limit": steps + 10}
        began = time.perf_counter()
        ended = await chain.ainvoke({"done": 0, "wanted": steps}, config, durability="sync")
        took = time.perf_counter() - began
    if ended["done"] != steps:
        raise ValueError(f"{ended['done']} steps instead of {steps}")
    return steps / took


if __name__ == "__main__":
    print(asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]))))

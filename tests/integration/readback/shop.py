"""A small workflow to go on with: it fans out, writes its state, fans in, and ends; some of its payloads are odd."""

from __future__ import annotations

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step

__all__ = ["Item", "Order", "Packed", "Shop"]


class Order(StartEvent):
    goods: list[str]
    extra: dict[str, str] | None = None


class Item(Event):
    name: str
    extra: dict[str, str] | None = None


class Packed(Event):
    size: int


class Shop(Workflow):
    """Packs goods, and counts how much there is."""

    @step
    async def take(self, ctx: Context, ev: Order) -> list[Item]:
        await ctx.store.set("count", len(ev.goods))
        return [Item(name=name, extra=ev.extra) for name in ev.goods]

    @step(num_workers=1)
    async def pack(self, ctx: Context, ev: Item) -> Packed:
        await ctx.store.set(f"packed.{ev.name}", len(ev.name))
        return Packed(size=len(ev.name))

    @step
    async def bill(self, ctx: Context, ev: Packed) -> StopEvent | None:
        found = ctx.collect_events(ev, [Packed] * await ctx.store.get("count"))
        return StopEvent(result=sum(each.size for each in found)) if found else None

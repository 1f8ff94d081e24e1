"""`wattlease demo`: the virtual site in real time or faster, its page on loopback, and a person's hands on it."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import click

from wattlease.runtime.cli import Refusal as CommandRefusal
from wattlease.runtime.web import Page, serving
from wattlease.runtime.web_controls import Controls, Refusal
from wattlease.sim.demo_nodes import nodes_of
from wattlease.sim.demo_site import DemoSite

PUBLISH_S = 0.5
"""The page moves about this often."""

CATCH_UP_TICKS = 10
"""Ticks between two documents while the first half hour is made up."""

P = ParamSpec("P")


class Demo:
    """Drives the site beside the server: ticks run in a thread, one at a time with a person's orders."""

    def __init__(self, site: DemoSite, speed: float) -> None:
        self.site, self.page = site, Page(site.book)
        self.lock = asyncio.Lock()
        tick_s = site.scenario.tick_seconds
        self.ticks = max(round(speed * PUBLISH_S / tick_s), 1)
        self.every_s = self.ticks * tick_s / speed
        self.page.publish(site.view)

    async def drive(self) -> None:
        """Tick for ever; a machine that is too slow for the speed shows less of it, and never stands still."""
        clock = asyncio.get_running_loop().time
        while True:
            begun_s = clock()
            behind = self.site.behind
            async with self.lock:
                view = await asyncio.to_thread(self.site.advance, CATCH_UP_TICKS if behind else self.ticks)
            if view is not self.page.view:
                self.page.book = self.site.book  # a reset begins another
                self.page.publish(view)
            await asyncio.sleep(0.0 if behind else max(self.every_s - (clock() - begun_s), 0.0))

    def controls(self) -> Controls:
        """What the page may ask for."""
        return Controls(
            set_limit=self._alone(self.site.set_limit),
            start_event=self._alone(self.site.start_event),
            submit_job=self._alone(self.site.submit_job),
            reset=self._alone(self.site.reset),
            limit_range_w=self.site.limit_range_w,
            gpus_max=self.site.gpus_max,
            kinds=self.site.kinds,
        )

    def _alone(self, order: Callable[P, Refusal | None]) -> Callable[P, Awaitable[Refusal | None]]:
        async def carried_out(*args: P.args, **kwargs: P.kwargs) -> Refusal | None:
            async with self.lock:
                return await asyncio.to_thread(order, *args, **kwargs)

        return carried_out


def serve_demo(port: int, speed: float, opens: bool) -> None:
    """Run until Ctrl-C."""
    try:
        asyncio.run(_serve(port, speed, opens))
    except OSError as error:
        raise CommandRefusal(error.strerror or str(error)) from error


async def _serve(port: int, speed: float, opens: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, stop.set)
    site = DemoSite()
    demo, plant = Demo(site, speed), site.plant
    async with (
        serving(demo.page, port=port, controls=demo.controls()) as url,
        nodes_of(plant.site, plant.wiring, float(plant.site.scopes[0].budget.spec.limit_watts)) as site.nodes,
    ):
        click.echo(
            f"{url}  a virtual site of {len(site.nodes.states)} nodes, each with a real agent on virtual GPUs, "
            f"at {speed:g} times the speed of time. Ctrl-C ends it."
        )
        if opens:
            webbrowser.open(url)
        driving, stopping = asyncio.create_task(demo.drive()), asyncio.create_task(stop.wait())
        await asyncio.wait({driving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (driving, stopping):
            task.cancel()
        await asyncio.gather(driving, stopping, return_exceptions=True)
        if not stop.is_set():
            driving.result()
    click.echo("ended")

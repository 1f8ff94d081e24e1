// News from the server: the whole document first, then a tick at a time; after a silence, again from the start.

const SILENT_AFTER_MS = 12_000;
const GIVE_UP_AFTER_MS = 20_000; // a dead connection may look open for minutes
const LOOK_EVERY_MS = 1000;
const REOPEN_MS = 2000;

export function follow({ onDocument, onTick, onSilence, onNews }) {
  const state = { source: null, sequence: null, now_s: 0, loading: false, waiting: [], news_ms: performance.now(), opened_ms: 0 };

  async function load() {
    if (state.loading) return;
    state.loading = true;
    try {
      const answer = await fetch("api/view");
      if (answer.status === 200) onDocument(await answer.json());
    } catch {
      state.sequence = null; // the next tick asks again
    } finally {
      state.loading = false;
      state.waiting.splice(0).forEach(onTick);
    }
  }

  function hear(event) {
    state.news_ms = performance.now();
    onNews();
    const tick = JSON.parse(event.data);
    const sequence = Number(event.lastEventId);
    const follows = state.sequence !== null && sequence === state.sequence + 1 && tick.now_s >= state.now_s;
    Object.assign(state, { sequence, now_s: tick.now_s });
    if (!follows) load(); // the first tick, a missed one, or a plant that was put back to its start
    if (state.loading) state.waiting.push(tick);
    else onTick(tick);
  }

  function open() {
    state.source?.close();
    state.sequence = null;
    state.opened_ms = performance.now();
    state.source = new EventSource("api/stream");
    state.source.addEventListener("tick", hear);
    state.source.addEventListener("error", reopenIfClosed);
  }

  // The browser retries a lost connection by itself, but not one that was answered with an error.
  function reopenIfClosed() {
    state.sequence = null;
    if (state.source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
  }

  function look() {
    const silent_ms = performance.now() - state.news_ms;
    if (silent_ms < SILENT_AFTER_MS) return;
    onSilence(silent_ms / 1000);
    const tried_ms = performance.now() - state.opened_ms;
    if (silent_ms > GIVE_UP_AFTER_MS && tried_ms > GIVE_UP_AFTER_MS) open();
  }

  open();
  setInterval(look, LOOK_EVERY_MS);
}

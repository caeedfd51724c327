/** When to try again after a session broke, and what says that trying at once may help. */

/** The longest regular wait, in milliseconds: who watches a page that reconnects does not want to wait longer. */
export const RECONNECT_DELAY_MS_MAX = 7000;
/** The most that chance adds to a wait, in milliseconds: after a restart, not everyone comes back at the same moment. */
export const RECONNECT_JITTER_MS_MAX = 1000;
/** A session that lasted this long was a good one, in milliseconds: when it breaks, the waits begin anew. */
export const STABLE_MS = 5000;

const RECONNECT_STEP_MS = 300;

/** How long a session stays on WebSocket before WebTransport is tried again, in milliseconds: the first time, and at most. */
const RETURN_DELAY_MS_MIN = 5000;
export const RETURN_DELAY_MS_MAX = 5 * 60 * 1000;
/** After this long without a try to go on over WebSocket, the waits before it begin anew, in milliseconds. */
export const ALARM_MEMORY_MS = 30_000;
/** A session over WebTransport that lasted this long was a good one, in milliseconds: when it moves or breaks, these waits begin anew. */
export const STEADY_MS = 60_000;

/**
 * How long to wait before a try: 0, 0.3, 1.2, 2.7, 4.8, 7, 7 ... seconds, and up to as much again, at least 0.3 and at most a second.
 * @param {number} attempt how many tries failed before it
 * @param {() => number} random from 0 to 1, as `Math.random`
 * @returns {number} milliseconds
 */
export function reconnectDelayMs(attempt, random) {
  const delay = Math.min(RECONNECT_STEP_MS * attempt ** 2, RECONNECT_DELAY_MS_MAX);
  return delay + random() * Math.min(Math.max(delay, RECONNECT_STEP_MS), RECONNECT_JITTER_MS_MAX);
}

/**
 * How long to wait before WebTransport is tried once more: 5, 10, 20, 40, 80, 160, 300 ... seconds, and up to a tenth more.
 * @param {number} attempt how many tries there were before
 * @param {() => number} random from 0 to 1, as `Math.random`
 * @returns {number} milliseconds
 */
export function returnDelayMs(attempt, random) {
  return Math.min(RETURN_DELAY_MS_MIN * 2 ** Math.min(attempt, 10), RETURN_DELAY_MS_MAX) * (1 + random() / 10);
}

/**
 * Waits, but no longer than until the network is back, the page is looked at again, or `signal` says to give up.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timeout);
      over.abort();
      resolve();
    };
    const timeout = setTimeout(end, ms);
    if (signal.aborted) return end();
    const options = { signal: over.signal };
    signal.addEventListener('abort', end, options);
    // A worker has no page; Node has neither.
    globalThis.addEventListener?.('online', end, options);
    globalThis.document?.addEventListener('visibilitychange', () => { if (!document.hidden) end(); }, options);
  });
}

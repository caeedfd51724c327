/** Remembers for a while that a network blocks WebTransport, so that the next meeting starts without the wait, also in another tab. */

/** How long a network counts as blocked, in milliseconds. */
export const BLOCKED_MS = 10 * 60 * 1000;

/**
 * @param {string} relay the address that did not answer
 * @param {() => number} [now] milliseconds
 * @returns {import('./connection.js').BlockedNetworks}
 */
export function blockedNetworks(relay, now = Date.now) {
  const key = `tertulia.blocked:${relay}`;
  return {
    isBlocked() {
      const since = Number(storage((store) => store.getItem(key)) ?? NaN);
      return now() - since >= 0 && now() - since < BLOCKED_MS;
    },
    remember: () => void storage((store) => store.setItem(key, String(now()))),
    forget: () => void storage((store) => store.removeItem(key)),
  };
}

/** Storage may be missing, forbidden or full. @template T @param {(store: Storage) => T} act @returns {T | null} */
function storage(act) {
  try {
    return act(localStorage);
  } catch {
    return null;
  }
}

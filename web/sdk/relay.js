/** What a relay says about itself at `/relay.json`, and where its carriers are. */
import { deadline, unreachable } from './deadline.js';
import { TertuliaError } from './error.js';
import { bytesOf } from './hex.js';

/**
 * @typedef {object} RelayAddresses
 * @property {string | null} webTransport
 * @property {Uint8Array<ArrayBuffer> | null} certificateSha256 only for a certificate that no authority vouches for
 * @property {string} webSocket
 * @property {TertuliaError | null} refusal what to say if no carrier stands: the relay takes this page for one of another site
 */
/** @typedef {{ webtransport?: unknown, certificateSha256?: unknown, originAllowed?: unknown }} Description */

/** How long to ask a relay that is known from before, in milliseconds: its carriers need the rest of the time. */
export const ASK_AGAIN_TIMEOUT_MS = 2000;

/** What relays said last, by address. @type {Map<string, Description>} */
const known = new Map();

/** @param {URL} page any address on the relay @param {AbortSignal} signal @returns {Promise<RelayAddresses>} */
export async function findRelay(page, signal) {
  const { webtransport: port, certificateSha256: hash, originAllowed } = await describe(questionAt(page), signal);
  const refusal = originAllowed === false ? refused() : null;
  // What a relay thinks of its own page it has heard from a proxy in between, which WebTransport goes past.
  if (refusal && !isOwn(page)) throw refusal;
  const webSocket = new URL('/ws', page);
  webSocket.protocol = page.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    webTransport: Number.isInteger(port) ? `https://${page.hostname}:${port}/` : null,
    certificateSha256: typeof hash === 'string' && /^[0-9a-f]{64}$/i.test(hash) ? bytesOf(hash) : null,
    webSocket: webSocket.href,
    refusal,
  };
}

/** Whether the relay has sent this page. @param {URL} page */
const isOwn = (page) => globalThis.origin === page.origin;

/** Browsers do not say of which origin a page is that asks its own. @param {URL} page */
function questionAt(page) {
  const url = new URL('/relay.json', page);
  if (isOwn(page)) url.searchParams.set('origin', page.origin);
  return url;
}

/**
 * A relay that does not answer in time is taken to be where it was. One that cannot be reached at all is down: trying again
 * finds it sooner than carriers that wait for it.
 * @param {URL} url
 * @param {AbortSignal} signal
 * @returns {Promise<Description>}
 */
async function describe(url, signal) {
  const last = known.get(url.href);
  const asking = last ? deadline(signal, ASK_AGAIN_TIMEOUT_MS) : signal;
  try {
    const response = await fetch(url, { cache: 'no-store', signal: asking });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    const description = await response.json();
    known.set(url.href, description);
    return description;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (last && asking.aborted) return last;
    throw unreachable(cause);
  }
}

/** The relay keeps pages of this site away. Its carriers do not say so. */
function refused() {
  const { origin = 'null' } = globalThis;
  if (origin === 'null') return new TertuliaError('origin_refused', 'This relay takes pages of web sites alone. Open this page from one, not from a file.');
  return new TertuliaError('origin_refused', `This relay does not take pages of ${origin}. Whoever runs it allows them with its option --origin ${origin}.`);
}

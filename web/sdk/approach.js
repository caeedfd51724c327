/** From what a program asks for to what is tried: which carriers, where, and what is said first. */
import { blockedNetworks } from './blocked.js';
import { parseCarrier, prefersWebSocket } from './carrier.js';
import { deadline } from './deadline.js';
import { TertuliaError } from './error.js';
import { findRelay } from './relay.js';
import { VERSION } from './wire.js';
import { openWebSocket } from './websocket.js';
import { openWebTransport } from './webtransport.js';

/** @typedef {import('./connection.js').Attempt} Attempt */
/** @typedef {import('./room.js').RoomOptions} RoomOptions */
/** @typedef {import('./wire/messages.js').ChatPosition} ChatPosition */

/**
 * @param {URL} url an address on the relay
 * @param {RoomOptions} options
 * @param {{ ticket: Uint8Array | null, chatAfter: ChatPosition }} past what an earlier session left
 * @param {AbortSignal} signal
 * @returns {Promise<Attempt>}
 */
export async function approach(url, options, past, signal) {
  const forced = parseCarrier(options.transport);
  // Its time is the program's, not the network's.
  const token = await tokenOf(options);
  const reach = deadline(signal);
  const { webTransport, certificateSha256, webSocket, refusal } = await findRelay(url, reach);
  if (forced === 'webtransport' && !webTransport) {
    throw new TertuliaError('transport_unavailable', 'This relay has no WebTransport. Leave the transport out, or use "websocket".');
  }
  const withoutWebTransport = webTransport ? reasonAgainst(forced) : 'no_webtransport';
  const { name, room = roomOfAddress(url) } = options;
  return {
    webtransport: webTransport && !withoutWebTransport ? (signal) => openWebTransport(webTransport, { certificateSha256, signal }) : null,
    withoutWebTransport,
    websocket: forced === 'webtransport' ? null : (signal) => openWebSocket(webSocket, { signal }),
    join: { type: 'join', version: VERSION, room, name, token, ...past, autoSubscribe: true },
    blocked: blockedNetworks(webTransport ?? webSocket),
    signal,
    reach,
    refusal,
  };
}

/** @param {import('./carrier.js').Carrier | null} forced @returns {import('./connection.js').CarrierReason} */
function reasonAgainst(forced) {
  if (forced) return forced === 'webtransport' ? null : 'chosen';
  if (!('WebTransport' in globalThis)) return 'no_webtransport';
  return prefersWebSocket(navigator.userAgent) ? 'browser' : null;
}

/** @param {URL} url */
export function roomOfAddress(url) {
  return url.pathname.split('/').filter(Boolean).at(-1) ?? 'lobby';
}

/** @param {RoomOptions} options @returns {Promise<string | null>} */
async function tokenOf({ token = null }) {
  if (typeof token !== 'function') return token;
  try {
    return await token();
  } catch (cause) {
    throw new TertuliaError('token_unavailable', 'No access token could be got. Check that whoever makes them can be reached, and try again.', { cause });
  }
}

/** What a relay says about itself at `/relay.json`, and where its carriers are. */
import { TertuliaError } from './error.js';
import { bytesOf } from './hex.js';

/**
 * @typedef {object} RelayAddresses
 * @property {string | null} webTransport
 * @property {Uint8Array<ArrayBuffer> | null} certificateSha256 only for a certificate that no authority vouches for
 * @property {string} webSocket
 */

/** @param {URL} page any address on the relay @returns {Promise<RelayAddresses>} */
export async function findRelay(page) {
  const { webtransport: port, certificateSha256: hash } = await fetchDescription(new URL('/relay.json', page));
  const webSocket = new URL('/ws', page);
  webSocket.protocol = page.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    webTransport: Number.isInteger(port) ? `https://${page.hostname}:${port}/` : null,
    certificateSha256: typeof hash === 'string' && /^[0-9a-f]{64}$/i.test(hash) ? bytesOf(hash) : null,
    webSocket: webSocket.href,
  };
}

/** @param {URL} url @returns {Promise<{ webtransport?: unknown, certificateSha256?: unknown }>} */
async function fetchDescription(url) {
  try {
    const response = await fetch(url, { cache: 'no-store' });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return await response.json();
  } catch (cause) {
    throw new TertuliaError('relay_unreachable', 'The relay cannot be reached. Check the network and that the relay runs, and join again.', { cause });
  }
}

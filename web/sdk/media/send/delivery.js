/** How the frames of a track travel. */
import { TertuliaError } from '../../error.js';

/**
 * @typedef {'datagrams' | 'parity' | 'stream'} Delivery `datagrams`: with parity while somebody reports loss; `parity`: with it always; `stream`:
 *   each frame on a stream of its own, where it arrives whole or is given up when it is stale
 */
/** @typedef {{ keyframes: Delivery, others: Delivery }} Deliveries of each kind of frames */

const KNOWN = Object.freeze(['datagrams', 'parity', 'stream']);
/** Keyframes of a screen are large and stand for long. */
const SCREEN = Object.freeze({ keyframes: 'stream', others: 'datagrams' });

/**
 * @param {Delivery | Deliveries | undefined} wished for all frames, or for each kind
 * @param {boolean} isScreen
 * @returns {Deliveries}
 */
export function deliveries(wished, isScreen) {
  const given = wished ?? (isScreen ? SCREEN : 'datagrams');
  const { keyframes, others } = typeof given === 'string' ? { keyframes: given, others: given } : given;
  for (const delivery of [keyframes, others]) {
    if (KNOWN.includes(delivery)) continue;
    throw new TertuliaError('delivery_unknown', `Frames cannot be sent by "${delivery}". Give as delivery "datagrams", "parity" or "stream", or { keyframes, others } of these.`);
  }
  return { keyframes, others };
}

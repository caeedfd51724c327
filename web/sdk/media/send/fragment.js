/** A frame as the datagrams that carry it. */
import { TertuliaError } from '../../error.js';
import { FRAGMENTS_MAX, HEADER_BYTES, MEDIA_BYTES_MAX, PREFIX_BYTES, encodeDatagram } from '../../wire/media.js';
import { PROTECTED_BYTES_MAX, parityOf } from '../parity.js';

/** What one fragment can carry, in bytes. */
export const FRAGMENT_BYTES_MAX = MEDIA_BYTES_MAX - HEADER_BYTES;
/** The longest frame that can be sent, in bytes. */
export const FRAME_BYTES_MAX = FRAGMENTS_MAX * FRAGMENT_BYTES_MAX;

/** @typedef {Omit<import('../../wire/media.js').MediaHeader, 'fragmentIndex' | 'fragmentCount' | 'parity' | 'onStream'> & { onStream?: boolean }} FrameHeader */

/**
 * Cuts a frame into fragments of equal size, the last one perhaps shorter: equal datagrams can leave the relay in one system call.
 * @param {FrameHeader} header
 * @param {Uint8Array} payload the frame, 1 to {@link FRAME_BYTES_MAX} bytes
 * @param {number} [sizeMax] of a fragment
 * @returns {Uint8Array<ArrayBuffer>[]} datagrams, zero byte included
 */
export function fragment(header, payload, sizeMax = FRAGMENT_BYTES_MAX) {
  if (payload.length === 0 || payload.length > FRAME_BYTES_MAX) {
    throw new TertuliaError('frame_size', `A frame has ${payload.length} bytes. Send frames of 1 to ${FRAME_BYTES_MAX}.`);
  }
  const size = Math.ceil(payload.length / Math.ceil(payload.length / sizeMax));
  // Rounding the size up can leave nothing for the last fragment.
  const fragmentCount = Math.ceil(payload.length / size);
  return Array.from({ length: fragmentCount }, (_, fragmentIndex) => encodeDatagram({
    onStream: false, ...header, parity: false, fragmentIndex, fragmentCount,
    payload: payload.subarray(fragmentIndex * size, (fragmentIndex + 1) * size),
  }));
}

/**
 * The same, and behind them their parity; a frame that is nearly too long goes without.
 * @param {FrameHeader} header @param {Uint8Array} payload @returns {Uint8Array<ArrayBuffer>[]}
 */
export function fragmentWithParity(header, payload) {
  if (payload.length > FRAGMENTS_MAX * PROTECTED_BYTES_MAX) return fragment(header, payload);
  const fragments = fragment(header, payload, PROTECTED_BYTES_MAX);
  const payloads = fragments.map((datagram) => datagram.subarray(PREFIX_BYTES + HEADER_BYTES));
  const fragmentCount = fragments.length;
  return [...fragments, ...parityOf(payloads).map((payload, fragmentIndex) => encodeDatagram({ ...header, onStream: false, parity: true, fragmentIndex, fragmentCount, payload }))];
}

/**
 * The parity of a group of fragments, as in `src/media/parity.rs`: with it and all of them but one, that one is known.
 *
 * Of n groups, group g has the fragments g, g + n, g + 2n and so on. In the parity's header, g stands in the place of the fragment's
 * index. Its payload is n (16 bits), the exclusive or of the payloads' lengths (16 bits), and that of the payloads themselves.
 */
import { HEADER_BYTES, MEDIA_BYTES_MAX } from '../wire/media.js';

const HEAD_BYTES = 4;
/** Fragments for one parity, about. */
const GROUP = 4;
/** Fragments that one parity may stand for; more are not looked at. */
export const GROUP_MAX = 16;
/** What a fragment can carry whose parity has to fit a datagram too, in bytes. */
export const PROTECTED_BYTES_MAX = MEDIA_BYTES_MAX - HEADER_BYTES - HEAD_BYTES;

/** @typedef {{ groups: number, lengths: number, payloads: Uint8Array }} Parity */

/** The payloads of the parity of all groups of a frame. @param {Uint8Array[]} fragments its payloads, at most `PROTECTED_BYTES_MAX` long @returns {Uint8Array<ArrayBuffer>[]} */
export function parityOf(fragments) {
  const groups = Math.max(1, Math.floor((fragments.length + GROUP / 2) / GROUP));
  return Array.from({ length: groups }, (_, group) => {
    const its = fragments.filter((_, at) => at % groups === group);
    const payload = new Uint8Array(HEAD_BYTES + Math.max(...its.map(({ length }) => length)));
    const view = new DataView(payload.buffer);
    view.setUint16(0, groups);
    view.setUint16(2, its.reduce((lengths, { length }) => lengths ^ length, 0));
    for (const fragment of its) add(payload.subarray(HEAD_BYTES), fragment);
    return payload;
  });
}

/** Reads a parity. @param {import('../wire/media.js').Media} media @returns {Parity | null} `null`: it is none, or stands for more than is looked at */
export function readParity({ fragmentIndex, fragmentCount, payload }) {
  if (payload.length <= HEAD_BYTES) return null;
  const view = new DataView(payload.buffer, payload.byteOffset, HEAD_BYTES);
  const [groups, lengths] = [view.getUint16(0), view.getUint16(2)];
  if (groups <= fragmentIndex || Math.ceil(fragmentCount / groups) > GROUP_MAX) return null;
  return { groups, lengths, payloads: payload.subarray(HEAD_BYTES) };
}

/** The only payload of the group that is not among the others. @param {Parity} parity @param {Uint8Array[]} others @returns {Uint8Array | null} `null`: that is not possible */
export function recover({ lengths, payloads }, others) {
  if (others.some((other) => other.length > payloads.length)) return null;
  const payload = payloads.slice();
  for (const other of others) add(payload, other);
  const length = others.reduce((rest, other) => rest ^ other.length, lengths);
  return length === 0 || length > payload.length ? null : payload.subarray(0, length);
}

/** @param {Uint8Array} sum @param {Uint8Array} bytes */
function add(sum, bytes) {
  for (let at = 0; at < bytes.length; at++) sum[at] ^= bytes[at];
}

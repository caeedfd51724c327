/** A datagram that asks for others once more, as in `src/wire/repeat.rs`: version and flags, layers, track, then what is wanted. */
import { malformed } from './codec.js';
import { MEDIA_BYTES_MAX, PREFIX_BYTES } from './media.js';

const HEAD_BYTES = 6;
const WANTED_BYTES = 8;
const HEADER_VERSION = 1;
const FLAG_REPEAT = 0b100;

/** In the place of a fragment's index: all of them, because it is not known how many there are. */
export const WHOLE_FRAME = 0xffff;
/** How much one request can ask for. */
export const WANTED_MAX = Math.floor((MEDIA_BYTES_MAX - HEAD_BYTES) / WANTED_BYTES);

/** @typedef {{ frame: number, fragment: number, following: number }} Wanted a fragment, and a bit for each of the 16 after it, from the lowest on */
/** @typedef {{ track: number, spatialLayer: number, wanted: Wanted[] }} RepeatRequest */

/** Whether what stands behind the zero byte is a request rather than media. @param {Uint8Array} bytes */
export function isRepeatRequest(bytes) {
  return bytes.length > 0 && (bytes[0] & FLAG_REPEAT) !== 0;
}

/** The request with the zero byte; what is beyond `WANTED_MAX` is left out. @param {RepeatRequest} request @returns {Uint8Array<ArrayBuffer>} */
export function encodeRepeatRequest({ track, spatialLayer, wanted }) {
  const asked = wanted.slice(0, WANTED_MAX);
  const bytes = new Uint8Array(PREFIX_BYTES + HEAD_BYTES + asked.length * WANTED_BYTES);
  const view = new DataView(bytes.buffer, PREFIX_BYTES);
  view.setUint8(0, (HEADER_VERSION << 4) | FLAG_REPEAT);
  view.setUint8(1, (spatialLayer & 7) << 3);
  view.setUint32(2, track);
  for (const [at, { frame, fragment, following }] of asked.entries()) {
    view.setUint32(HEAD_BYTES + at * WANTED_BYTES, frame);
    view.setUint16(HEAD_BYTES + at * WANTED_BYTES + 4, fragment);
    view.setUint16(HEAD_BYTES + at * WANTED_BYTES + 6, following);
  }
  return bytes;
}

/** Reads what stands behind the zero byte. @param {Uint8Array} bytes @returns {RepeatRequest} */
export function decodeRepeatRequest(bytes) {
  const count = (bytes.length - HEAD_BYTES) / WANTED_BYTES;
  if (bytes.length > MEDIA_BYTES_MAX || count < 1 || !Number.isInteger(count)) throw malformed('a request is too short or too long');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint8(0) >> 4 !== HEADER_VERSION) throw malformed('a request is of another version');
  const wanted = Array.from({ length: count }, (_, at) => ({
    frame: view.getUint32(HEAD_BYTES + at * WANTED_BYTES),
    fragment: view.getUint16(HEAD_BYTES + at * WANTED_BYTES + 4),
    following: view.getUint16(HEAD_BYTES + at * WANTED_BYTES + 6),
  }));
  return { track: view.getUint32(2), spatialLayer: (view.getUint8(1) >> 3) & 7, wanted };
}

/** Whether this fragment is asked for. @param {Wanted} wanted @param {number} frame @param {number} fragment */
export function wants(wanted, frame, fragment) {
  if (wanted.frame !== frame) return false;
  if (wanted.fragment === WHOLE_FRAME || wanted.fragment === fragment) return true;
  const distance = fragment - wanted.fragment;
  return distance >= 1 && distance <= 16 && (wanted.following & (1 << (distance - 1))) !== 0;
}

/** Asks for one more of the same frame, if there is a bit for it. @param {Wanted} wanted @param {number} frame @param {number} fragment @returns {boolean} */
export function addWanted(wanted, frame, fragment) {
  const distance = fragment - wanted.fragment;
  if (wanted.frame !== frame || wanted.fragment === WHOLE_FRAME || distance < 1 || distance > 16) return false;
  wanted.following |= 1 << (distance - 1);
  return true;
}

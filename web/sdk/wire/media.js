/**
 * The media datagram, as in `src/wire/media.rs`: one zero byte, 20 bytes of header in network order, the fragment.
 *
 * In a browser the zero byte is WebTransport's own: it is neither given nor expected there. `encodeDatagram` writes it, so
 * that WebSocket can send the whole and WebTransport everything behind it; `decodeMedia` starts behind it.
 */
import { malformed } from './codec.js';

export const PREFIX_BYTES = 1;
export const HEADER_BYTES = 20;
/** Header plus payload, in bytes. */
export const MEDIA_BYTES_MAX = 1000;
export const FRAGMENTS_MAX = 2048;
/** A datagram for this track comes back to its sender. */
export const TRACK_ECHO = 0;

const PREFIX = 0x00;
const HEADER_VERSION = 1;
const FLAG_KEYFRAME = 0b01;
const FLAG_PARITY = 0b10;
const FLAG_STREAM = 0b1000;

/**
 * @typedef {object} MediaHeader
 * @property {number} track
 * @property {number} frame
 * @property {number} dependsOnDistance how many frames back the frame stands that this one needs; 0: none
 * @property {boolean} keyframe
 * @property {boolean} parity
 * @property {boolean} onStream whether the frame travels on a stream of its own, where the carrier has streams
 * @property {number} temporalLayer 0 to 7
 * @property {number} spatialLayer 0 to 7
 * @property {number} audioLevel dB below full scale, 0 to 127; 127 on video
 * @property {number} fragmentIndex below `fragmentCount`
 * @property {number} fragmentCount
 * @property {number} timestamp 90 kHz
 */
/** @typedef {MediaHeader & { payload: Uint8Array }} Media */

/** @param {Media} media @returns {Uint8Array<ArrayBuffer>} */
export function encodeDatagram(media) {
  const length = HEADER_BYTES + media.payload.length;
  if (media.payload.length === 0 || length > MEDIA_BYTES_MAX) throw malformed(`a fragment has 1 to ${MEDIA_BYTES_MAX - HEADER_BYTES} bytes`);
  const bytes = new Uint8Array(PREFIX_BYTES + length);
  bytes[0] = PREFIX;
  writeHeader(new DataView(bytes.buffer, PREFIX_BYTES), media);
  bytes.set(media.payload, PREFIX_BYTES + HEADER_BYTES);
  return bytes;
}

/** The header alone. @param {MediaHeader} header @returns {Uint8Array<ArrayBuffer>} */
export function encodeHeader(header) {
  const bytes = new Uint8Array(HEADER_BYTES);
  writeHeader(new DataView(bytes.buffer), header);
  return bytes;
}

/** @param {DataView} view @param {MediaHeader} header */
function writeHeader(view, header) {
  const flags = (header.keyframe ? FLAG_KEYFRAME : 0) | (header.parity ? FLAG_PARITY : 0) | (header.onStream ? FLAG_STREAM : 0);
  view.setUint8(0, (HEADER_VERSION << 4) | flags);
  view.setUint8(1, ((header.spatialLayer & 7) << 3) | (header.temporalLayer & 7));
  view.setUint32(2, header.track);
  view.setUint32(6, header.frame);
  view.setUint8(10, header.dependsOnDistance);
  view.setUint8(11, Math.min(header.audioLevel, 127));
  view.setUint16(12, header.fragmentIndex);
  view.setUint16(14, header.fragmentCount);
  view.setUint32(16, header.timestamp);
}

/** Reads header and payload that stand behind the zero byte. @param {Uint8Array} bytes @returns {Media} */
export function decodeMedia(bytes) {
  if (bytes.length > MEDIA_BYTES_MAX) throw malformed('a datagram is too long');
  if (bytes.length <= HEADER_BYTES) throw malformed('a datagram is too short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const flags = view.getUint8(0);
  if (flags >> 4 !== HEADER_VERSION) throw malformed(`a media header is of version ${flags >> 4}`);
  const layers = view.getUint8(1);
  const fragmentIndex = view.getUint16(12);
  const fragmentCount = view.getUint16(14);
  if (fragmentIndex >= fragmentCount || fragmentCount > FRAGMENTS_MAX) {
    throw malformed(`a datagram is fragment ${fragmentIndex} of ${fragmentCount}`);
  }
  return {
    track: view.getUint32(2),
    frame: view.getUint32(6),
    dependsOnDistance: view.getUint8(10),
    keyframe: (flags & FLAG_KEYFRAME) !== 0,
    parity: (flags & FLAG_PARITY) !== 0,
    onStream: (flags & FLAG_STREAM) !== 0,
    temporalLayer: layers & 7,
    spatialLayer: (layers >> 3) & 7,
    audioLevel: view.getUint8(11) & 0x7f,
    fragmentIndex,
    fragmentCount,
    timestamp: view.getUint32(16),
    payload: bytes.subarray(HEADER_BYTES),
  };
}

/** Reads a whole datagram, zero byte included. @param {Uint8Array} bytes @returns {Media} */
export function decodeDatagram(bytes) {
  if (bytes.length === 0 || bytes[0] !== PREFIX) throw malformed('a datagram belongs to another session');
  return decodeMedia(bytes.subarray(PREFIX_BYTES));
}

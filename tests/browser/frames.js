// Frames and datagrams of unit tests.

/** @typedef {import('../../web/sdk/media/receive/assembly.js').Frame} Frame */
/** @typedef {import('../../web/sdk/wire/media.js').Media} Media */
/** @typedef {import('../../web/sdk/wire/media.js').MediaHeader} MediaHeader */

/** A header of frame `frame`; without a distance it is a keyframe. Captured 30 times a second. @param {number} frame @param {Partial<MediaHeader>} [rest] @returns {MediaHeader} */
export function header(frame, rest = {}) {
  const dependsOnDistance = rest.dependsOnDistance ?? 0;
  return {
    track: 1, frame, dependsOnDistance, keyframe: dependsOnDistance === 0, parity: false, onStream: false, temporalLayer: 0, spatialLayer: 0, audioLevel: 127,
    fragmentIndex: 0, fragmentCount: 0, timestamp: frame * 3000, ...rest,
  };
}

/** A whole frame. @param {number} number @param {Partial<MediaHeader>} [rest] @param {number} [wholeAtMs] @returns {Frame} */
export function frame(number, rest, wholeAtMs = 0) {
  return { header: header(number, rest), payload: Uint8Array.of(number), wholeAtMs };
}

/** The datagrams of a frame, each with a payload of `bytes` bytes. @param {number} number @param {number} count @param {Partial<MediaHeader>} [rest] @returns {Media[]} */
export function datagrams(number, count, rest, bytes = 2) {
  return Array.from({ length: count }, (_, fragmentIndex) => ({
    ...header(number, rest), fragmentIndex, fragmentCount: count, payload: new Uint8Array(bytes).fill(fragmentIndex),
  }));
}

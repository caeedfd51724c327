/** Puts the datagrams of one track together again: each frame comes out once, when it is whole. As `src/media/assembly.rs`. */
import { FRAGMENTS_MAX, MEDIA_BYTES_MAX } from '../../wire.js';
import { Losses } from './losses.js';
import { msBetween } from '../timestamp.js';

/** @typedef {import('../../wire/media.js').Media} Media */
/** @typedef {import('../../wire/media.js').MediaHeader} MediaHeader */
/**
 * A whole frame.
 * @typedef {object} Frame
 * @property {MediaHeader} header fragment index and count are 0
 * @property {Uint8Array<ArrayBuffer>} payload
 * @property {number} wholeAtMs when its last fragment came
 */
/** @typedef {{ header: MediaHeader, fragments: (Uint8Array | undefined)[], missing: number, bytes: number, firstAtMs: number }} Partial */

/** Frames of one spatial layer that may be incomplete at a time. One this far behind the newest is late by any deadline. */
export const FRAMES_MAX = 64;

/** What incomplete frames of a track may hold, in bytes: one of the largest, and as much again in others. */
export const BYTES_MAX = 2 * FRAGMENTS_MAX * MEDIA_BYTES_MAX;

/** How long a frame may be incomplete, in milliseconds: nobody waits that long for a picture or a word. */
export const AGE_MS_MAX = 1000;

export class Assembly {
  /** By spatial layer: at most 8. @type {Map<number, Layer>} */
  #layers = new Map();
  #bytes = 0;
  #received = 0;

  /** Takes a datagram. Repeated, contradictory and late ones are passed over. @param {number} nowMs @param {Media} media @returns {Frame | null} the frame that it completes */
  push(nowMs, media) {
    if (media.parity) return null;
    const layer = this.#layers.get(media.spatialLayer) ?? new Layer();
    this.#layers.set(media.spatialLayer, layer);
    const partial = layer.place(nowMs, media);
    if (!partial || !put(partial, media)) return null;
    this.#received++;
    this.#bytes += media.payload.length;
    layer.losses.arrived(nowMs, media.frame, media.fragmentCount, partial.missing);
    if (partial.missing === 0) {
      this.#bytes -= layer.remove(media.frame);
      return whole(partial, nowMs);
    }
    this.#bound(nowMs);
    return null;
  }

  /** Bytes of incomplete frames. */
  get bytes() {
    return this.#bytes;
  }

  /** Incomplete frames. */
  get frames() {
    return [...this.#layers.values()].reduce((sum, { partials }) => sum + partials.size, 0);
  }

  /** Datagrams that came and that did not, since the last time. @param {number} nowMs @param {boolean} isComplete whether all layers are taken */
  takeCounts(nowMs, isComplete) {
    const lost = [...this.#layers.values()].reduce((sum, { losses }) => sum + losses.take(nowMs, isComplete), 0);
    const received = this.#received;
    this.#received = 0;
    return { received, lost };
  }

  /** @param {number} nowMs */
  #bound(nowMs) {
    for (const layer of this.#layers.values()) this.#bytes -= layer.giveUp(nowMs);
    while (this.#bytes > BYTES_MAX) {
      const oldest = [...this.#layers.values()].filter(({ partials }) => partials.size > 0).reduce((a, b) => (a.oldestAtMs <= b.oldestAtMs ? a : b));
      this.#bytes -= oldest.removeOldest();
    }
  }
}

/** One spatial layer: its frames are counted by themselves. */
class Layer {
  losses = new Losses();
  /** In the order in which they began to come. @type {Map<number, Partial>} */
  partials = new Map();
  /** Those of the last frames that came out, or were given up. @type {Set<number>} */
  #done = new Set();
  #newest = -1;
  #newestTimestamp = 0;

  /** Where the fragment belongs; `null` if nowhere. @param {number} nowMs @param {Media} media @returns {Partial | null} */
  place(nowMs, media) {
    const known = this.partials.get(media.frame);
    if (known) return known;
    const isLate = media.frame <= this.#newest - FRAMES_MAX;
    // A page that was loaded again counts its frames from 0, and its clock goes on.
    if (isLate && msBetween(media.timestamp, this.#newestTimestamp) > 0) this.#beginAgain();
    else if (isLate || this.#done.has(media.frame)) return null;
    if (media.frame > this.#newest) [this.#newest, this.#newestTimestamp] = [media.frame, media.timestamp];
    const { payload: _, ...header } = media;
    const partial = { header, fragments: new Array(media.fragmentCount), missing: media.fragmentCount, bytes: 0, firstAtMs: nowMs };
    this.partials.set(media.frame, partial);
    return partial;
  }

  get oldestAtMs() {
    return this.partials.values().next().value?.firstAtMs ?? Infinity;
  }

  /** What is too old, or too much. @param {number} nowMs @returns {number} bytes that became free */
  giveUp(nowMs) {
    let bytes = 0;
    while (this.partials.size > FRAMES_MAX || nowMs - this.oldestAtMs > AGE_MS_MAX) bytes += this.removeOldest();
    return bytes;
  }

  removeOldest() {
    return this.remove(/** @type {number} */ (this.partials.keys().next().value));
  }

  /** @param {number} frame @returns {number} bytes that became free */
  remove(frame) {
    const bytes = this.partials.get(frame)?.bytes ?? 0;
    this.partials.delete(frame);
    this.#done.add(frame);
    if (this.#done.size > 2 * FRAMES_MAX) this.#done.delete(/** @type {number} */ (this.#done.values().next().value));
    return bytes;
  }

  #beginAgain() {
    this.losses = new Losses();
    this.#done.clear();
    this.#newest = -1;
  }
}

/** @param {Partial} partial @param {Media} media @returns {boolean} whether it was missing */
function put(partial, { fragmentIndex, fragmentCount, payload }) {
  if (fragmentCount !== partial.fragments.length || partial.fragments[fragmentIndex]) return false;
  partial.fragments[fragmentIndex] = payload;
  partial.missing--;
  partial.bytes += payload.length;
  return true;
}

/** @param {Partial} partial @param {number} wholeAtMs @returns {Frame} */
function whole({ header, fragments, bytes }, wholeAtMs) {
  const payload = new Uint8Array(bytes);
  let at = 0;
  for (const fragment of fragments) {
    if (!fragment) continue;
    payload.set(fragment, at);
    at += fragment.length;
  }
  return { header: { ...header, fragmentIndex: 0, fragmentCount: 0 }, payload, wholeAtMs };
}

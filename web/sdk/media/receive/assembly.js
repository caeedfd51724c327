/** Puts the datagrams of one track together again: each frame comes out once, when it is whole. As `src/media/assembly.rs`. */
import { FRAGMENTS_MAX, MEDIA_BYTES_MAX } from '../../wire.js';
import { Losses } from './losses.js';
import { readParity, recover } from '../parity.js';
import { msBetween } from '../timestamp.js';

/** @typedef {import('../../wire/media.js').Media} Media */
/** @typedef {import('../../wire/media.js').MediaHeader} MediaHeader */
/**
 * A whole frame.
 * @typedef {object} Frame
 * @property {MediaHeader} header fragment index and count are 0
 * @property {Uint8Array<ArrayBuffer>} payload
 * @property {number} wholeAtMs when its last fragment came, or was made again
 */
/**
 * @typedef {object} Partial
 * @property {MediaHeader} header
 * @property {(Uint8Array | undefined)[]} fragments
 * @property {number} missing how many of them are
 * @property {number} lost how many did not come by themselves
 * @property {Map<number, import('../parity.js').Parity>} parities by their groups; all of the same number of groups
 * @property {number} bytes
 * @property {number} firstAtMs when it began to come; on a stream, when something of it came last
 */

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
  #gapMax;

  /** @param {number} [gapMax] numbers of frames that may be left out at once: a larger step is a new beginning, and nothing is lost by it */
  constructor(gapMax) {
    this.#gapMax = gapMax;
  }

  /**
   * Takes a datagram. Repeated, contradictory and late ones are passed over.
   * @param {number} nowMs @param {Media} media @param {boolean} [isRepeat] whether it came because it was asked for: the path lost it before
   * @returns {Frame | null} the frame that is whole with it
   */
  push(nowMs, media, isRepeat = false) {
    const layer = this.#layers.get(media.spatialLayer) ?? new Layer(this.#gapMax);
    this.#layers.set(media.spatialLayer, layer);
    const partial = layer.place(nowMs, media);
    if (!partial || media.fragmentCount !== partial.fragments.length) return null;
    const before = partial.bytes;
    if (media.parity) putParity(partial, media);
    else if (!put(partial, media.fragmentIndex, media.payload)) return null;
    if (!media.parity && !isRepeat) {
      this.#received++;
      partial.lost--;
      // Of what comes on a stream nothing is lost.
      layer.losses.arrived(nowMs, media.frame, media.fragmentCount, media.onStream ? 0 : partial.lost);
    }
    remake(partial, media.fragmentIndex);
    this.#bytes += partial.bytes - before;
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
  #gapMax;
  /** In the order in which they began to come. @type {Map<number, Partial>} */
  partials = new Map();
  /** Those of the last frames that came out, or were given up. @type {Set<number>} */
  #done = new Set();
  #newest = -1;
  #newestTimestamp = 0;

  /** @param {number | undefined} gapMax */
  constructor(gapMax) {
    this.#gapMax = gapMax;
    this.losses = new Losses(gapMax);
  }

  /** Where the fragment belongs; `null` if nowhere. @param {number} nowMs @param {Media} media @returns {Partial | null} */
  place(nowMs, media) {
    const known = this.partials.get(media.frame);
    if (known && media.onStream) this.#goOn(nowMs, media.frame, known);
    if (known) return known;
    const isLate = media.frame <= this.#newest - FRAMES_MAX;
    // A page that was loaded again counts its frames from 0, and its clock goes on.
    if (isLate && msBetween(media.timestamp, this.#newestTimestamp) > 0) this.#beginAgain();
    else if (isLate || this.#done.has(media.frame)) return null;
    if (media.frame > this.#newest) [this.#newest, this.#newestTimestamp] = [media.frame, media.timestamp];
    const { payload: _, ...header } = media;
    const { fragmentCount: count } = media;
    const partial = { header: { ...header, parity: false }, fragments: new Array(count), missing: count, lost: count, parities: new Map(), bytes: 0, firstAtMs: nowMs };
    this.partials.set(media.frame, partial);
    return partial;
  }

  /** While something of it comes on a stream, a frame is not too old. @param {number} nowMs @param {number} frame @param {Partial} partial */
  #goOn(nowMs, frame, partial) {
    partial.firstAtMs = nowMs;
    this.partials.delete(frame);
    this.partials.set(frame, partial);
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
    this.losses = new Losses(this.#gapMax);
    this.#done.clear();
    this.#newest = -1;
  }
}

/** @param {Partial} partial @param {number} index @param {Uint8Array} payload @returns {boolean} whether it was missing */
function put(partial, index, payload) {
  if (partial.fragments[index]) return false;
  partial.fragments[index] = payload;
  partial.missing--;
  partial.bytes += payload.length;
  return true;
}

/** @param {Partial} partial @param {Media} media */
function putParity(partial, media) {
  const parity = readParity(media);
  const groups = partial.parities.values().next().value?.groups ?? parity?.groups;
  if (!parity || parity.groups !== groups || partial.parities.has(media.fragmentIndex)) return;
  partial.parities.set(media.fragmentIndex, parity);
  partial.bytes += parity.payloads.length;
}

/** Makes the missing fragment of a group out of the others and the parity, if it is the only one. @param {Partial} partial @param {number} indexOrGroup */
function remake(partial, indexOrGroup) {
  const groups = partial.parities.values().next().value?.groups;
  if (!groups) return;
  const group = indexOrGroup % groups;
  const parity = partial.parities.get(group);
  if (!parity) return;
  const others = [];
  let lost = -1;
  for (let at = group; at < partial.fragments.length; at += groups) {
    const fragment = partial.fragments[at];
    if (fragment) others.push(fragment);
    else if (lost < 0) lost = at;
    else return;
  }
  const payload = lost < 0 ? null : recover(parity, others);
  if (payload) put(partial, lost, payload);
}

/** @param {Partial} partial @param {number} wholeAtMs @returns {Frame} */
function whole({ header, fragments }, wholeAtMs) {
  const payload = new Uint8Array(fragments.reduce((sum, fragment) => sum + (fragment?.length ?? 0), 0));
  let at = 0;
  for (const fragment of fragments) {
    if (!fragment) continue;
    payload.set(fragment, at);
    at += fragment.length;
  }
  return { header: { ...header, fragmentIndex: 0, fragmentCount: 0 }, payload, wholeAtMs };
}

/** The way of encoded frames out of the worker: encrypted, cut into datagrams, paced. */
import { ENCRYPTION_BYTES } from '../encryption.js';
import { FRAME_BYTES_MAX, fragment, fragmentWithParity } from './fragment.js';

/** @typedef {Omit<import('./fragment.js').FrameHeader, 'track'>} EncodedHeader */
/** @typedef {{ header: EncodedHeader, payload: Uint8Array<ArrayBuffer> }} EncodedFrame */
/** @typedef {import('./fragment.js').FrameHeader} FrameHeader */

/**
 * Datagrams of a frame, or of a part of it.
 * @typedef {object} OutgoingFrame
 * @property {number} key the track's on this side
 * @property {'audio' | 'video'} kind
 * @property {FrameHeader} header of that frame; of copies, which are of the frame before it, that of the next
 * @property {boolean} [goesAhead] whether they are copies that go on a stream, before everything else that waits
 */

/**
 * @typedef {object} FrameSenderOptions
 * @property {number} key
 * @property {'audio' | 'video'} kind
 * @property {import('./delivery.js').Deliveries} delivery
 * @property {import('./pacer.js').Pacer<OutgoingFrame>} pacer
 * @property {() => import('../encryption.js').FrameCipher | null} cipher
 * @property {import('./redundancy.js').Redundancy} redundancy
 * @property {(header: FrameHeader) => void} left a frame was left out, because too much waits or it is too large
 */

/** The frames of one track. */
export class FrameSender {
  #options;
  /** Encryption takes time, and frames must not overtake each other. @type {Promise<void>} */
  #before = Promise.resolve();
  /** Given by the relay; 0: not published at the moment, and nothing is sent. */
  track = 0;
  /** Time to the next frame, in milliseconds. */
  intervalMs = 0;
  /** Whether each picture goes over a stream of its own, and each audio frame a second time on one, because datagrams may be dropped before they leave. */
  prefersStreams = false;
  /** Whether the way takes parity of all temporal layers beside what is encoded. */
  hasRoom = false;
  /** Bits since it was last set to 0, headers included. */
  bits = 0;
  /** Frames, likewise; the renditions of one picture are one. */
  frames = 0;
  /** Frames since the beginning. */
  sent = 0;
  #lastTimestamp = -1;

  /** @param {FrameSenderOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** @param {EncodedFrame} frame */
  send({ header, payload }) {
    if (this.track === 0 || payload.length === 0) return;
    const isPicture = this.#options.kind === 'video';
    const whole = { ...header, track: this.track, onStream: isPicture && this.prefersStreams || this.#delivery(header) === 'stream' };
    const cipher = this.#options.cipher();
    if (payload.length + (cipher ? ENCRYPTION_BYTES : 0) > FRAME_BYTES_MAX) return this.#options.left(whole);
    if (!cipher) return this.#release(whole, payload);
    const sealed = cipher.encrypt(whole, payload);
    this.#before = this.#before.then(async () => this.#release(whole, await sealed)).catch(() => this.#options.left(whole));
  }

  /** @param {FrameHeader} header @param {Uint8Array<ArrayBuffer>} payload */
  #release(header, payload) {
    const { kind, left } = this.#options;
    if (kind === 'audio') this.#sendAudio(header, fragment(header, payload));
    else if (!this.#sendPicture(header, payload)) return left(header);
    if (header.timestamp === this.#lastTimestamp) return;
    this.#lastTimestamp = header.timestamp;
    this.frames++;
    this.sent++;
  }

  /**
   * At once, and while there is loss with the frame before it once more. While pictures go on streams, which datagrams leave behind, that one
   * goes ahead of them.
   * @param {FrameHeader} header @param {Uint8Array<ArrayBuffer>[]} datagrams
   */
  #sendAudio(header, datagrams) {
    const { key, kind, pacer, redundancy } = this.#options;
    const before = redundancy.next(datagrams);
    /** @type {OutgoingFrame} */
    const tag = { key, kind, header };
    const isDoubled = !this.prefersStreams && redundancy.isDue(performance.now());
    const leaving = [{ datagrams: isDoubled ? [...datagrams, ...before] : datagrams, tag }];
    if (this.prefersStreams && before.length > 0) leaving.push({ datagrams: before, tag: { ...tag, goesAhead: true } });
    for (const one of leaving) {
      this.#count(one.datagrams);
      pacer.urgent(one);
    }
  }

  /** On a stream nothing is lost for leaving at once. @param {FrameHeader} header @param {Uint8Array<ArrayBuffer>} payload @returns {boolean} false: too much waits */
  #sendPicture(header, payload) {
    const { key, kind, pacer } = this.#options;
    const outgoing = { datagrams: this.#picture(header, payload), tag: { key, kind, header } };
    this.#count(outgoing.datagrams);
    if (!header.onStream) return pacer.push(outgoing, this.intervalMs);
    pacer.urgent(outgoing);
    return true;
  }

  /** @param {Uint8Array<ArrayBuffer>[]} datagrams */
  #count(datagrams) {
    this.bits += datagrams.reduce((sum, datagram) => sum + 8 * datagram.length, 0);
  }

  /** @param {EncodedHeader} header */
  #delivery({ keyframe }) {
    const { keyframes, others } = this.#options.delivery;
    return keyframe ? keyframes : others;
  }

  /** Whether most frames go as datagrams. */
  get sendsDatagrams() {
    return !this.prefersStreams && this.#options.delivery.others !== 'stream';
  }

  /**
   * While there is loss, pictures go with parity, or always where the program wishes. Those of upper layers where there is room: nothing
   * depends on them, but asked for once more they come behind the next one of a lower layer, which waits for them a little at most.
   * @param {FrameHeader} header @param {Uint8Array<ArrayBuffer>} payload
   */
  #picture(header, payload) {
    const isDue = (header.temporalLayer === 0 || this.hasRoom) && this.#options.redundancy.isDue(performance.now());
    return !header.onStream && (isDue || this.#delivery(header) === 'parity') ? fragmentWithParity(header, payload) : fragment(header, payload);
  }
}

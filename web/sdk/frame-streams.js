/** Large frames over WebTransport, each on a stream of its own, in both directions. */
import { MEDIA_BYTES_MAX, MessageBuffer, PREFIX_BYTES, STREAM_KIND, decodeMedia, delimit } from './wire.js';
import { DROP_REASONS } from './wire/reasons.js';

/** @typedef {import('./wire/media.js').Media} Media */
/** @typedef {{ in: number, out: number }} FramesOnStreams how many came whole since the session began, and how many left */

/** How long a frame may take, and a keyframe, in milliseconds; half as long if a keyframe has begun after it. */
const FRAME_MS = 800;
const KEYFRAME_MS = 2400;

/** Frames under way at a time: beside them and what goes ahead of them, the relay lets a session have a few streams more. */
export const FRAMES_MAX = 12;

export class FrameStreams {
  #transport;
  #received;
  /** @type {Set<OnStream>} */
  #underWay = new Set();
  #order = 0;
  /** @type {FramesOnStreams} */
  counts = { in: 0, out: 0 };
  /** Datagrams of frames for which there was no stream. */
  leftOut = 0;

  /** @param {WebTransport} transport @param {(media: Uint8Array) => void} received header and payload of each datagram that comes */
  constructor(transport, received) {
    this.#transport = transport;
    this.#received = received;
  }

  /** Sends the datagrams of a frame, zero bytes included; what is stale is taken back. @param {Uint8Array<ArrayBuffer>[]} datagrams */
  send(datagrams) {
    // Whoever misses it asks for a keyframe.
    if (this.#underWay.size >= FRAMES_MAX) {
      this.leftOut += datagrams.length;
      return;
    }
    const header = decodeMedia(datagrams[0].subarray(PREFIX_BYTES));
    if (header.keyframe) for (const older of this.#underWay) older.supersede(header);
    const frame = new OnStream(header);
    this.#underWay.add(frame);
    // Each goes after those before it: if they shared the path, all of them would be late.
    const sent = frame.send(this.#transport, datagrams, --this.#order);
    // One that was taken back, or with which the session ended, has not left.
    void sent.then(() => { this.counts.out++; }, () => {}).then(() => this.#underWay.delete(frame));
  }

  /** Reads those that come until the session ends, each by itself. */
  async read() {
    const reader = this.#transport.incomingUnidirectionalStreams.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      // One that is given up ends with an error.
      this.#readFrame(part.value.getReader()).catch(() => {});
    }
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #readFrame(reader) {
    const buffer = new MessageBuffer(PREFIX_BYTES + MEDIA_BYTES_MAX);
    let isFirst = true;
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (isFirst && part.value[0] !== STREAM_KIND.media) return;
        buffer.push(isFirst ? part.value.subarray(1) : part.value);
        isFirst = false;
        for (let datagram = buffer.pop(); datagram; datagram = buffer.pop()) this.#received(datagram.slice(PREFIX_BYTES));
      }
      this.counts.in++;
    } finally {
      // What is no media is not read on.
      reader.cancel().catch(() => {});
    }
  }
}

/** A frame on its way to the relay. */
class OnStream {
  #header;
  #beganMs = performance.now();
  #timeMs;
  #stale = new AbortController();
  #timer;

  /** @param {Media} header */
  constructor(header) {
    this.#header = header;
    this.#timeMs = header.keyframe ? KEYFRAME_MS : FRAME_MS;
    this.#timer = this.#end('late', this.#timeMs);
  }

  /** A keyframe has begun after it. @param {Media} keyframe */
  supersede({ track, spatialLayer }) {
    if (this.#header.track !== track || this.#header.spatialLayer !== spatialLayer) return;
    clearTimeout(this.#timer);
    this.#timer = this.#end('superseded', this.#timeMs / 2);
  }

  /** Resolves when all of it has left. @param {WebTransport} transport @param {Uint8Array<ArrayBuffer>[]} datagrams @param {number} sendOrder */
  async send(transport, datagrams, sendOrder) {
    const { signal } = this.#stale;
    try {
      const writer = (await transport.createUnidirectionalStream({ sendOrder })).getWriter();
      const giveUp = () => void writer.abort(signal.reason).catch(() => {});
      signal.addEventListener('abort', giveUp);
      if (signal.aborted) giveUp();
      for (const piece of [Uint8Array.of(STREAM_KIND.media), ...datagrams.map(delimit)]) writer.write(piece).catch(() => {});
      await writer.close();
    } finally {
      clearTimeout(this.#timer);
    }
  }

  /** @param {'late' | 'superseded'} reason @param {number} timeMs after it began */
  #end(reason, timeMs) {
    const leftMs = this.#beganMs + timeMs - performance.now();
    return setTimeout(() => this.#stale.abort(streamError(reason)), leftMs);
  }
}

/** What a stream is given up with. Firefox has another constructor than the draft. @param {'late' | 'superseded'} message */
export function streamError(message) {
  const streamErrorCode = DROP_REASONS.indexOf(message);
  try {
    return new WebTransportError(message, { streamErrorCode });
  } catch {
    return new WebTransportError(/** @type {any} */ ({ message, streamErrorCode }));
  }
}

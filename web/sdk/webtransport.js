/** A session over WebTransport: one bidirectional stream for control, one for chat, datagrams for media, and streams for large frames. */
import { Inbox, LOST } from './carrier.js';
import { TertuliaError } from './error.js';
import { AheadStreams } from './ahead-streams.js';
import { FrameStreams } from './frame-streams.js';
import { MessageBuffer, PREFIX_BYTES, STREAM_KIND, delimit } from './wire.js';

/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./carrier.js').StreamName} StreamName */

/** How long the relay may take to say why it ends a session after a stream has ended, in milliseconds. As long as it takes. */
const CLOSE_TIMEOUT_MS = 500;
/** Outgoing datagrams older than this stay behind, in the browser and in the page, in milliseconds. */
const DATAGRAM_AGE_MS_MAX = 100;
/**
 * Datagrams that the browser is to take before the first of them has left. With one, which is usual, the next waits in the page until another
 * process has answered: a busy machine answers more seldom than there are datagrams, and all come later and later, or not at all. As many as one
 * sends in that time at most, with audio twice and parity. Not in Firefox, which drops what is more than about ten by itself.
 */
const DATAGRAMS_TAKEN = 64;
const DROPS_DATAGRAMS = /Firefox\//.test(globalThis.navigator?.userAgent ?? '');
/** Datagrams that may wait in the page beyond that. Of more, the oldest stay behind. */
const DATAGRAMS_WAITING_MAX = 64;

/**
 * @param {string} url
 * @param {{ certificateSha256: Uint8Array<ArrayBuffer> | null, signal: AbortSignal }} options
 * @returns {Promise<Session>}
 */
export async function openWebTransport(url, { certificateSha256, signal }) {
  if (!('WebTransport' in globalThis)) {
    throw new TertuliaError('transport_unavailable', 'This page has no WebTransport here. Open it over https:// or on localhost, or use WebSocket.');
  }
  const hashes = certificateSha256 ? { serverCertificateHashes: [{ algorithm: 'sha-256', value: certificateSha256 }] } : {};
  const transport = new WebTransport(url, hashes);
  transport.closed.catch(() => {});
  const abort = () => transport.close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await transport.ready;
    const [control, chat] = await Promise.all([transport.createBidirectionalStream(), transport.createBidirectionalStream()]);
    signal.throwIfAborted();
    return session(transport, control, chat);
  } catch (error) {
    transport.close();
    throw new TertuliaError('transport_failed', 'WebTransport did not get through. UDP may be blocked; WebSocket may work.', { cause: error });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/**
 * @param {WebTransport} transport
 * @param {WebTransportBidirectionalStream} control
 * @param {WebTransportBidirectionalStream} chat
 * @returns {Session}
 */
function session(transport, control, chat) {
  const inbox = new Inbox();
  const heard = readMessages(control.readable, 'control', inbox).catch(() => {});
  // Why it ended may have been said, and is told first.
  const lose = () => void heard.then(() => inbox.end('connection_lost', LOST));
  const abandon = () => void setTimeout(() => transport.close(), CLOSE_TIMEOUT_MS);
  const writers = { control: control.writable.getWriter(), chat: chat.writable.getWriter() };
  const datagrams = new Datagrams(transport);
  const ahead = new AheadStreams(transport);
  const frames = new FrameStreams(transport, (media) => inbox.media(media));
  // Both kinds at once: the relay takes a stream when its first byte has come.
  writers.control.write(Uint8Array.of(STREAM_KIND.control)).catch(lose);
  writers.chat.write(Uint8Array.of(STREAM_KIND.chat)).catch(lose);
  void heard.then(abandon);
  readMessages(chat.readable, 'chat', inbox).catch(abandon);
  readDatagrams(transport.datagrams.readable, inbox).catch(lose);
  frames.read().catch(lose);
  transport.closed.then(lose, lose);
  return {
    carrier: 'webtransport',
    send: (stream, message) => void writers[stream].write(delimit(message)).catch(lose),
    sendDatagram: (datagram) => datagrams.send(datagram.subarray(PREFIX_BYTES)),
    datagramsLeftOut: () => datagrams.leftOut,
    leftOutOnStreams: () => frames.leftOut + ahead.leftOut,
    sendOnStream: (datagrams) => frames.send(datagrams),
    sendAhead: (datagrams) => ahead.send(datagrams),
    framesOnStreams: () => frames.counts,
    bufferedBytes: () => 0,
    listen: (listener) => inbox.listen(listener),
    close() {
      inbox.end('left', 'You left the room.');
      writers.control.close().catch(() => {});
      // Closing the transport could overtake what was written. The relay ends its half when it has read all.
      void heard.then(() => transport.close());
      abandon();
    },
  };
}

/** Datagrams on their way out. */
class Datagrams {
  /** @type {WritableStreamDefaultWriter} */ #writer;
  /** Those that the browser does not take yet. @type {{ datagram: Uint8Array, sinceMs: number }[]} */ #waiting = [];
  #isDraining = false;
  /** Those that waited too long, or with too many. */
  leftOut = 0;

  /** @param {WebTransport} transport */
  constructor(transport) {
    const datagrams = /** @type {any} */ (transport.datagrams);
    datagrams.outgoingMaxAge = DATAGRAM_AGE_MS_MAX;
    if (!DROPS_DATAGRAMS) datagrams.outgoingHighWaterMark = DATAGRAMS_TAKEN;
    const writable = datagrams.createWritable ? datagrams.createWritable() : datagrams.writable;
    this.#writer = writable.getWriter();
  }

  /** @param {Uint8Array} datagram */
  send(datagram) {
    // Of one that is closed it is 0, and of one that broke null.
    if (this.#waiting.length === 0 && (this.#writer.desiredSize ?? 0) > 0) return this.#write(datagram);
    this.#waiting.push({ datagram, sinceMs: performance.now() });
    this.#leaveOut();
    if (!this.#isDraining) void this.#drain();
  }

  async #drain() {
    this.#isDraining = true;
    // With a session that ends, what waits is nobody's any more.
    while (this.#waiting.length > 0) {
      await this.#writer.ready.catch(() => {});
      this.#leaveOut();
      const first = this.#waiting.shift();
      if (first) this.#write(first.datagram);
    }
    this.#isDraining = false;
  }

  /** What is late, or too much. Behind it, the others would be late as well. */
  #leaveOut() {
    const oldestMs = performance.now() - DATAGRAM_AGE_MS_MAX;
    while (this.#waiting.length > DATAGRAMS_WAITING_MAX || (this.#waiting[0]?.sinceMs ?? Infinity) < oldestMs) {
      this.#waiting.shift();
      this.leftOut++;
    }
  }

  /** @param {Uint8Array} datagram */
  #write(datagram) {
    this.#writer.write(datagram).catch(() => {});
  }
}

/** @param {ReadableStream<Uint8Array>} readable @param {StreamName} stream @param {Inbox} inbox */
async function readMessages(readable, stream, inbox) {
  const reader = readable.getReader();
  const buffer = new MessageBuffer();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    buffer.push(part.value);
    for (let message = buffer.pop(); message; message = buffer.pop()) inbox.message(stream, message);
  }
}

/** @param {ReadableStream<Uint8Array>} readable @param {Inbox} inbox */
async function readDatagrams(readable, inbox) {
  const reader = readable.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) inbox.media(part.value);
}

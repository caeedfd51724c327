/** What the carriers have in common, and which of them to try. */
import { TertuliaError } from './error.js';

/** @typedef {'webtransport' | 'websocket'} Carrier */
/** @typedef {'control' | 'chat'} StreamName */
/** @typedef {{ reason: import('./error.js').ErrorCode, message: string }} Ending why a session ended */

/**
 * What a session tells.
 * @typedef {object} SessionListener
 * @property {(stream: StreamName, message: Uint8Array) => void} message
 * @property {(media: Uint8Array) => void} media header and payload, without the zero byte
 * @property {(ending: Ending) => void} closed
 */

/**
 * One live connection to the relay.
 * @typedef {object} Session
 * @property {Carrier} carrier
 * @property {(stream: StreamName, message: Uint8Array) => void} send
 * @property {(datagram: Uint8Array<ArrayBuffer>) => void} sendDatagram zero byte included; dropped when it cannot leave
 * @property {(datagrams: Uint8Array<ArrayBuffer>[]) => void} sendOnStream those of one frame, zero bytes included; given up when it is stale
 * @property {(datagrams: Uint8Array<ArrayBuffer>[]) => void} sendAhead on a stream that goes before those with frames; given up when they are stale
 * @property {() => number} datagramsLeftOut that waited too long for the browser to take them, or found no place: it is too busy
 * @property {() => number} leftOutOnStreams datagrams that were to go on streams, and for which there was none
 * @property {() => import('./frame-streams.js').FramesOnStreams} framesOnStreams none where the carrier has no streams
 * @property {() => number} bufferedBytes that were given to the carrier and have not left; 0 where it drops what is late by itself
 * @property {(listener: SessionListener) => void} listen what came before is told first
 * @property {() => void} close ends it as if it broke: the relay keeps the seat for a while, unless `leave` was sent before
 */

/** Keeps what a session hears until someone listens, and tells its end once. */
export class Inbox {
  /** @type {SessionListener | null} */
  #listener = null;
  /** @type {((listener: SessionListener) => void)[]} */
  #waiting = [];
  #ended = false;

  /** @param {StreamName} stream @param {Uint8Array} message */
  message(stream, message) {
    this.#tell((listener) => listener.message(stream, message));
  }

  /** @param {Uint8Array} media */
  media(media) {
    // Media is worth nothing later.
    if (!this.#ended) this.#listener?.media(media);
  }

  /** @param {Ending['reason']} reason @param {string} message */
  end(reason, message) {
    this.#tell((listener) => listener.closed({ reason, message }));
    this.#ended = true;
  }

  /** @param {SessionListener} listener */
  listen(listener) {
    this.#listener = listener;
    for (const tell of this.#waiting.splice(0)) tell(listener);
  }

  /** @param {(listener: SessionListener) => void} tell */
  #tell(tell) {
    if (this.#ended) return;
    if (this.#listener) tell(this.#listener);
    else this.#waiting.push(tell);
  }
}

export const LOST = 'The connection to the relay broke. Check the network.';

/**
 * Whether this browser starts with WebSocket: WebKit's WebTransport stalls when its flow-control credit is used up,
 * Firefox before 153 after two streams opened by the relay.
 * @param {string} userAgent
 */
export function prefersWebSocket(userAgent) {
  const webkit = /AppleWebKit\//.test(userAgent) && !/Chrom(e|ium)\//.test(userAgent);
  const firefox = /Firefox\/(\d+)/.exec(userAgent);
  return webkit || (firefox !== null && Number(firefox[1]) < 153);
}

/** @param {string | null | undefined} name @returns {Carrier | null} */
export function parseCarrier(name) {
  if (name === null || name === undefined || name === '') return null;
  if (name === 'webtransport' || name === 'websocket') return name;
  throw new TertuliaError('transport_unknown', `There is no transport "${name}". Use "webtransport" or "websocket", or leave it out.`);
}

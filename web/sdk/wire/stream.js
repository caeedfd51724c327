/** How messages share a stream: each stands behind its length, 32 bits in network order. */
import { MESSAGE_BYTES_MAX } from './codec.js';
import { TertuliaError } from '../error.js';

/** The first byte of a stream; on WebSocket, of each message. */
export const STREAM_KIND = Object.freeze({ media: 0x00, control: 0x01, chat: 0x02 });

const LENGTH_BYTES = 4;

/** Puts the length in front of `message`. @param {Uint8Array} message @returns {Uint8Array<ArrayBuffer>} */
export function delimit(message) {
  const bytes = new Uint8Array(LENGTH_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(0, message.length);
  bytes.set(message, LENGTH_BYTES);
  return bytes;
}

/** Cuts what arrives on a stream back into messages. */
export class MessageBuffer {
  #bytes = new Uint8Array(0);
  #messageBytesMax;

  /** @param {number} [messageBytesMax] */
  constructor(messageBytesMax = MESSAGE_BYTES_MAX) {
    this.#messageBytesMax = messageBytesMax;
  }

  /** @param {Uint8Array} received */
  push(received) {
    const joined = new Uint8Array(this.#bytes.length + received.length);
    joined.set(this.#bytes);
    joined.set(received, this.#bytes.length);
    this.#bytes = joined;
  }

  /** The next whole message, or `null` while it has not arrived. @returns {Uint8Array | null} */
  pop() {
    if (this.#bytes.length < LENGTH_BYTES) return null;
    const length = new DataView(this.#bytes.buffer, this.#bytes.byteOffset).getUint32(0);
    if (length > this.#messageBytesMax) {
      throw new TertuliaError('too_large', `The relay announced a message of ${length} bytes; at most ${this.#messageBytesMax} are allowed. Reload the page.`);
    }
    const end = LENGTH_BYTES + length;
    if (this.#bytes.length < end) return null;
    const message = this.#bytes.subarray(LENGTH_BYTES, end);
    this.#bytes = this.#bytes.subarray(end);
    return message;
  }

  /** Whether the beginning of a message waits for its rest. */
  get isMidMessage() {
    return this.#bytes.length > 0;
  }
}

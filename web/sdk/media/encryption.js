/**
 * End-to-end encryption: the relay passes on what it cannot read. Who has the secret of the link can read and write; the key of a room is
 * made of the secret and the room's name.
 */
import { TertuliaError } from '../error.js';
import { encodeHeader } from '../wire/media.js';

/** Random, new for each frame and message. */
export const NONCE_BYTES = 12;
/** What AES-GCM proves with, at the end of the ciphertext. */
export const TAG_BYTES = 16;
/** How much longer a payload is than its frame, in bytes. */
export const ENCRYPTION_BYTES = NONCE_BYTES + TAG_BYTES;
/** What a secret has to have at least: 128 bits. */
export const SECRET_BYTES_MIN = 16;

/** How an encrypted chat message begins. */
export const CHAT_PREFIX = 'e2ee1:';

const FRAME_INFO = 'tertulia frame 1';
const CHAT_INFO = 'tertulia chat 1';

/** @typedef {import('./send/fragment.js').FrameHeader} FrameHeader */

/** Encrypts and decrypts the payloads of frames. */
export class FrameCipher {
  #key;

  /** @param {CryptoKey} key of another FrameCipher: it can be posted to a worker, a cipher cannot. Else use {@link FrameCipher.create} */
  constructor(key) {
    this.#key = key;
  }

  get key() {
    return this.#key;
  }

  /** @param {string} secret base64url, at least {@link SECRET_BYTES_MIN} bytes @param {string} room its name */
  static async create(secret, room) {
    return new FrameCipher(await deriveKey(secret, room, FRAME_INFO));
  }

  /** @param {FrameHeader} header as it will be sent @param {Uint8Array<ArrayBuffer>} frame @returns {Promise<Uint8Array<ArrayBuffer>>} the payload */
  encrypt(header, frame) {
    return seal(this.#key, frame, headerData(header));
  }

  /**
   * Rejects with `encryption_failed` if the key is another one, or header or payload were changed.
   * @param {FrameHeader} header as it came @param {Uint8Array<ArrayBuffer>} payload of the whole frame @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  decrypt(header, payload) {
    return open(this.#key, payload, headerData(header));
  }
}

/** Encrypts and decrypts the bodies of chat messages. */
export class ChatCipher {
  #key;

  /** Use {@link ChatCipher.create}. @param {CryptoKey} key */
  constructor(key) {
    this.#key = key;
  }

  /** @param {string} secret base64url, at least {@link SECRET_BYTES_MIN} bytes @param {string} room its name */
  static async create(secret, room) {
    return new ChatCipher(await deriveKey(secret, room, CHAT_INFO));
  }

  /** Whether a body says that it is encrypted. @param {string} body */
  static isEncrypted(body) {
    return body.startsWith(CHAT_PREFIX);
  }

  /** @param {Uint8Array<ArrayBuffer>} messageId @param {string} text @returns {Promise<string>} the body */
  async encrypt(messageId, text) {
    return CHAT_PREFIX + base64Url(await seal(this.#key, new TextEncoder().encode(text), messageId));
  }

  /**
   * Rejects with `encryption_failed` if the key is another one, or the body is not encrypted or was changed.
   * @param {Uint8Array<ArrayBuffer>} messageId @param {string} body @returns {Promise<string>}
   */
  async decrypt(messageId, body) {
    const sealed = ChatCipher.isEncrypted(body) ? bytesOfBase64Url(body.slice(CHAT_PREFIX.length)) : null;
    if (!sealed) throw failed();
    return new TextDecoder().decode(await open(this.#key, sealed, messageId));
  }
}

/** A new secret for a link. */
export function newSecret() {
  return base64Url(crypto.getRandomValues(new Uint8Array(SECRET_BYTES_MIN)));
}

/** @param {string} secret @param {string} room @param {string} info @returns {Promise<CryptoKey>} */
async function deriveKey(secret, room, info) {
  if (!globalThis.crypto?.subtle) {
    throw new TertuliaError('insecure_page', 'This page cannot encrypt because its address is not secure. Open it over https:// or on localhost.');
  }
  const bytes = bytesOfBase64Url(secret);
  if (!bytes || bytes.length < SECRET_BYTES_MIN) {
    throw new TertuliaError('encryption_key', 'The key in the link is not whole. Copy the whole link, with everything behind "#key=".');
  }
  const { subtle } = crypto;
  const encoder = new TextEncoder();
  const secretKey = await subtle.importKey('raw', bytes, 'HKDF', false, ['deriveKey']);
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: encoder.encode(room), info: encoder.encode(info) };
  return subtle.deriveKey(derivation, secretKey, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
}

/** The header in bytes, without what differs between fragments. @param {FrameHeader} header */
function headerData(header) {
  return encodeHeader({ onStream: false, ...header, parity: false, fragmentIndex: 0, fragmentCount: 0 });
}

/** @param {CryptoKey} key @param {Uint8Array<ArrayBuffer>} plain @param {Uint8Array<ArrayBuffer>} additionalData */
async function seal(key, plain, additionalData) {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, key, plain);
  const sealed = new Uint8Array(NONCE_BYTES + ciphertext.byteLength);
  sealed.set(iv);
  sealed.set(new Uint8Array(ciphertext), NONCE_BYTES);
  return sealed;
}

/** @param {CryptoKey} key @param {Uint8Array<ArrayBuffer>} sealed @param {Uint8Array<ArrayBuffer>} additionalData */
async function open(key, sealed, additionalData) {
  if (sealed.length < ENCRYPTION_BYTES) throw failed();
  const iv = sealed.subarray(0, NONCE_BYTES);
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData }, key, sealed.subarray(NONCE_BYTES)));
  } catch (cause) {
    throw failed(cause);
  }
}

/** @param {unknown} [cause] */
function failed(cause) {
  return new TertuliaError('encryption_failed', 'What came cannot be decrypted. Open the same link as the others, with everything behind "#key=".', { cause });
}

/** @param {Uint8Array} bytes */
function base64Url(bytes) {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer> | null} `null`: it is none */
function bytesOfBase64Url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

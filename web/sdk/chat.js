/** A room's chat: what is said arrives once and in order, also when the connection breaks in between. */
import { TertuliaError } from './error.js';
import { bytesOf, hexOf } from './hex.js';
import { CHAT_PREFIX, ChatCipher, ENCRYPTION_BYTES } from './media/encryption.js';
import { sentence } from './sentences.js';
import { Transcript } from './transcript.js';
import { encodeClientChat } from './wire.js';

/** @typedef {import('./wire/messages.js').ChatPosition} ChatPosition */
/** @typedef {import('./wire/messages.js').ServerChat} ServerChat */
/** @typedef {import('./transcript.js').ChatMessage} ChatMessage */
/** @typedef {{ sequence: number, sentAt: Date }} Acknowledgement */
/** @typedef {Pick<import('./media/encryption.js').ChatCipher, 'encrypt' | 'decrypt'>} Cipher */

/**
 * @typedef {object} Pending
 * @property {string} text
 * @property {string | null} body what is sent; `null` until it is sealed
 * @property {number | null} to
 * @property {(value: Acknowledgement) => void} resolve
 * @property {(error: TertuliaError) => void} reject
 */

/**
 * What the chat needs of its room.
 * @typedef {object} ChatRoom
 * @property {() => boolean} isOpen whether messages are taken: the room is connected, or will be again
 * @property {(bytes: Uint8Array) => void} send throws if the room is not connected
 * @property {() => { id: number, name: string }} self
 * @property {(message: ChatMessage) => void} received
 * @property {Promise<Cipher> | null} [cipher] for messages that only those who have the key can read
 */

/** Messages without an acknowledgement. */
export const PENDING_MAX = 50;
/** How long one that waited for the connection waits when the relay says that it comes too fast, in milliseconds. */
export const RETRY_MS = 100;

const NOT_CONNECTED = 'The room is not connected. Join again, then send it again.';

export class Chat {
  #room;
  #transcript = new Transcript();
  /** In the order in which they were said. @type {Map<string, Pending>} */
  #pending = new Map();
  #bytesMax = 16 * 1024;
  /** Of these, the ids of those that waited for the connection: they leave one by one, and what is said meanwhile behind them. @type {Set<string>} */
  #waiting = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** Whether all that was missed is here, so that what is still pending did not arrive. */
  #isLive = false;
  /** Ends when all that was heard so far is taken. */
  #opening = Promise.resolve();
  /** Ends when all that was said so far is sealed. */
  #sealing = Promise.resolve('');

  /** @param {ChatRoom} room */
  constructor(room) {
    this.#room = room;
  }

  /**
   * What was said, in the order of the room.
   * @param {{ since?: number }} [options] `since`: a message's number; left out: all that are here
   * @returns {readonly ChatMessage[]} those of the room's present count that follow it
   */
  messages({ since } = {}) {
    const { messages, position: { epoch } } = this.#transcript;
    return since === undefined ? messages : messages.filter((message) => message.epoch === epoch && message.sequence > since);
  }

  /** The last message that is here, to ask for what follows it. @returns {ChatPosition} */
  get position() {
    return this.#transcript.position;
  }

  /**
   * Says something, and resolves when the relay has kept it. If the connection breaks, it is sent again when it is back.
   * Sending the same `messageId` again does no harm.
   * @param {string} text
   * @param {{ to?: number | null, messageId?: string }} [options] `to`: a participant's id; left out: everyone
   * @returns {Promise<Acknowledgement>} rejects with a TertuliaError: `chat_not_kept`, `chat_too_long`, `chat_too_fast`, ...
   */
  send(text, { to = null, messageId = newMessageId() } = {}) {
    const length = this.#room.cipher ? sealedBytes(text) : bytesIn(text);
    if (text.length === 0) return refuse('chat_empty', 'There is nothing to send. Write something first.');
    if (length > this.#bytesMax) {
      return refuse('chat_too_long', `The message has ${length} bytes; at most ${this.#bytesMax} are allowed. Send it in parts.`);
    }
    if (!this.#room.isOpen()) return refuse('not_connected', NOT_CONNECTED);
    if (this.#pending.has(messageId)) return refuse('chat_pending', 'This message is on its way already. Wait for the answer.');
    if (this.#pending.size >= PENDING_MAX) return refuse('chat_busy', 'Too many messages wait to be sent. Wait a moment, then send it again.');
    return new Promise((resolve, reject) => {
      const pending = { text, body: this.#room.cipher ? null : text, to, resolve, reject };
      this.#pending.set(messageId, pending);
      if (this.#room.cipher) void this.#seal(messageId, pending, this.#room.cipher);
      else this.#dispatch(messageId, pending);
    });
  }

  /** Says whether the participant is writing at the moment. Says nothing while the connection is broken. @param {boolean} active */
  setTyping(active) {
    if (this.#isLive) this.#room.send(encodeClientChat({ type: 'typing', active }));
  }

  /** A session began. @param {ChatPosition} position @param {number} bytesMax */
  joined({ epoch }, bytesMax) {
    this.#bytesMax = bytesMax;
    this.#transcript.begin(epoch);
  }

  /** The session ended; another will follow. */
  interrupted() {
    this.#isLive = false;
    clearTimeout(this.#retry);
  }

  /** The session ended, and no other will follow. @param {import('./error.js').ErrorCode} code */
  closed(code) {
    this.interrupted();
    for (const { reject } of this.#pending.values()) {
      reject(new TertuliaError(code, 'The connection ended before the relay confirmed the message. Join again, then send it again.'));
    }
    this.#pending.clear();
    this.#waiting.clear();
  }

  /**
   * Takes a message of the chat stream, in the order in which they came. What is sealed takes a moment to open.
   * @param {ServerChat} said
   * @param {() => boolean} isCurrent whether its session is still on: otherwise it will be told again
   * @param {(said: ServerChat) => void} taken
   */
  hear(said, isCurrent, taken) {
    const { cipher } = this.#room;
    if (!cipher) return taken(said);
    this.#opening = this.#opening.then(async () => {
      const opened = said.type === 'message' ? await open(said, cipher) : said;
      if (isCurrent()) taken(opened);
    }).catch((error) => reportError(error));
  }

  /** @param {Extract<ServerChat, { type: 'accepted' }>} accepted */
  accepted({ messageId, sequence, sentAtMs }) {
    const id = hexOf(messageId);
    const pending = this.#pending.get(id);
    if (pending) this.#keepOwn(id, pending, sequence, sentAtMs);
  }

  /** @param {Extract<ServerChat, { type: 'notKept' }>} notKept */
  notKept({ messageId, sentAtMs }) {
    const id = hexOf(messageId);
    const pending = this.#pending.get(id);
    if (pending) this.#keepOwn(id, pending, 0, sentAtMs);
  }

  /** @param {Extract<ServerChat, { type: 'refused' }>} refused */
  refused({ messageId, reason, message }) {
    const id = hexOf(messageId);
    if ((reason === 'chat_too_fast' || reason === 'chat_busy') && this.#waiting.has(id)) {
      this.#retry = setTimeout(() => this.#sendWaiting(), RETRY_MS);
      return;
    }
    this.#take(id)?.reject(new TertuliaError(reason, sentence(reason, message)));
  }

  /** @param {Opened} message */
  message({ sequence, messageId, sentAtMs, from, fromName, to, body, protection = protectionOf(body) }) {
    const own = from === this.#room.self().id;
    const text = protection === 'unreadable' ? '' : body;
    this.#keep({ sequence, messageId: hexOf(messageId), sentAt: new Date(sentAtMs), from, fromName, to, text, own, protection });
  }

  /** What was missed is here. What is still pending did not arrive. @param {Extract<ServerChat, { type: 'caughtUp' }>} caughtUp */
  caughtUp({ position }) {
    this.#transcript.advance(position.sequence);
    this.#isLive = true;
    this.#waiting = new Set(this.#pending.keys());
    this.#sendWaiting();
  }

  /** Sends the first of those that waited. */
  #sendWaiting() {
    const [id] = this.#waiting;
    const pending = id === undefined ? undefined : this.#pending.get(id);
    if (id !== undefined && pending && this.#isLive) this.#transmit(id, pending);
  }

  /** Sends what was just said, unless others wait. @param {string} messageId @param {Pending} pending */
  #dispatch(messageId, pending) {
    if (!this.#isLive) return;
    if (this.#waiting.size > 0) this.#waiting.add(messageId);
    else this.#transmit(messageId, pending);
  }

  /** One is answered: it is pending no longer, and the next of those that waited leaves. @param {string} messageId */
  #take(messageId) {
    const pending = this.#pending.get(messageId);
    const [first] = this.#waiting;
    this.#pending.delete(messageId);
    this.#waiting.delete(messageId);
    if (first === messageId) this.#sendWaiting();
    return pending;
  }

  /** @param {string} messageId @param {Pending} pending */
  #transmit(messageId, { body, to }) {
    if (body !== null) this.#room.send(encodeClientChat({ type: 'send', messageId: bytesOf(messageId), to, body }));
  }

  /** @param {string} messageId @param {Pending} pending @param {Promise<Cipher>} cipher */
  async #seal(messageId, pending, cipher) {
    // In the order in which they were said: what was said before is sealed before.
    const body = (this.#sealing = this.#sealing.then(async () => (await cipher).encrypt(bytesOf(messageId), pending.text)));
    try {
      pending.body = await body;
    } catch (cause) {
      this.#sealing = Promise.resolve('');
      this.#take(messageId);
      return pending.reject(new TertuliaError('encryption_failed', 'The message could not be encrypted. Open the whole link again, with all that follows #.', { cause }));
    }
    if (!this.#pending.has(messageId)) return;
    const [first] = this.#waiting;
    if (first === messageId) this.#sendWaiting();
    else if (!this.#waiting.has(messageId)) this.#dispatch(messageId, pending);
  }

  /** @param {string} messageId @param {Pending} pending @param {number} sequence @param {number} sentAtMs */
  #keepOwn(messageId, { text, to }, sequence, sentAtMs) {
    const { id: from, name: fromName } = this.#room.self();
    const protection = this.#room.cipher ? 'encrypted' : 'none';
    this.#keep({ sequence, messageId, sentAt: new Date(sentAtMs), from, fromName, to, text, own: true, protection });
  }

  /** Takes a message, and takes it as the acknowledgement if it is one's own. @param {Omit<ChatMessage, 'epoch' | 'kept'>} message */
  #keep(message) {
    const { messageId, sequence, sentAt } = message;
    const pending = this.#take(messageId);
    const taken = this.#transcript.add(message);
    if (taken) this.#room.received(taken);
    if (sequence > 0) pending?.resolve({ sequence, sentAt });
    else pending?.reject(new TertuliaError('chat_not_kept', sentence('chat_not_kept', '')));
  }
}

/** 16 random bytes, hexadecimal. */
export function newMessageId() {
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}

/** @typedef {Extract<ServerChat, { type: 'message' }> & { protection?: import('./transcript.js').Protection }} Opened */

/** @param {Extract<ServerChat, { type: 'message' }>} message @param {Promise<Cipher>} cipher @returns {Promise<Opened>} */
async function open(message, cipher) {
  if (!ChatCipher.isEncrypted(message.body)) return message;
  const text = await (await cipher).decrypt(Uint8Array.from(message.messageId), message.body).catch(() => null);
  return text === null ? message : { ...message, body: text, protection: 'encrypted' };
}

/** Of a message that was not opened. @param {string} body */
function protectionOf(body) {
  return ChatCipher.isEncrypted(body) ? 'unreadable' : 'none';
}

/** @param {string} text */
function bytesIn(text) {
  return new TextEncoder().encode(text).length;
}

/** What a text takes when it is sealed: a nonce and a tag beside it, in Base64. @param {string} text */
function sealedBytes(text) {
  return CHAT_PREFIX.length + Math.ceil(((bytesIn(text) + ENCRYPTION_BYTES) * 4) / 3);
}

/** @param {import('./error.js').ErrorCode} code @param {string} message @returns {Promise<never>} */
function refuse(code, message) {
  return Promise.reject(new TertuliaError(code, message));
}

/** A room's chat: order and acknowledgement as the relay gives them, every message once. */
import { TertuliaError } from './error.js';
import { encodeClientChat } from './wire.js';

/** @typedef {import('./wire/messages.js').ChatPosition} ChatPosition */
/** @typedef {import('./wire/messages.js').ServerChat} ServerChat */

/**
 * @typedef {object} ChatMessage
 * @property {number} sequence its number in the room
 * @property {string} messageId the sender's own id, hexadecimal
 * @property {Date} sentAt when the relay took it
 * @property {number} from participant id
 * @property {string} fromName what they were called then
 * @property {number | null} to participant id; `null`: everyone
 * @property {string} text
 * @property {boolean} own
 */
/** @typedef {{ sequence: number, sentAt: Date }} Acknowledgement */
/** @typedef {{ text: string, to: number | null, resolve(value: Acknowledgement): void, reject(error: TertuliaError): void }} Pending */

/**
 * What the chat needs of its room.
 * @typedef {object} ChatRoom
 * @property {(bytes: Uint8Array) => void} send throws if the room is not connected
 * @property {() => { id: number, name: string }} self
 * @property {(message: ChatMessage) => void} received
 */

/** Messages kept in the page; the oldest go first. */
const MESSAGES_MAX = 5000;

export class Chat {
  #room;
  /** @type {ChatMessage[]} */
  #messages = [];
  /** @type {Map<string, Pending>} */
  #pending = new Map();
  #seen = new Set();
  #own = new Set();
  #bytesMax = 16 * 1024;
  /** @type {ChatPosition} */
  #position = { epoch: 0, sequence: 0 };

  /** @param {ChatRoom} room */
  constructor(room) {
    this.#room = room;
  }

  /** In the order of their sequence numbers. @returns {readonly ChatMessage[]} */
  get messages() {
    return this.#messages;
  }

  /** The last message that is here, to ask for what follows it. @returns {ChatPosition} */
  get position() {
    return this.#position;
  }

  /**
   * Says something, and resolves when the relay has kept it. Sending the same `messageId` again does no harm.
   * @param {string} text
   * @param {{ to?: number | null, messageId?: string }} [options] `to`: a participant's id; left out: everyone
   * @returns {Promise<Acknowledgement>}
   */
  send(text, { to = null, messageId = newMessageId() } = {}) {
    const length = new TextEncoder().encode(text).length;
    if (length === 0) return Promise.reject(new TertuliaError('chat_empty', 'There is nothing to send. Write something first.'));
    if (length > this.#bytesMax) {
      return Promise.reject(new TertuliaError('chat_too_long', `The message has ${length} bytes; at most ${this.#bytesMax} are allowed. Send it in parts.`));
    }
    return new Promise((resolve, reject) => {
      this.#room.send(encodeClientChat({ type: 'send', messageId: bytesOf(messageId), to, body: text }));
      this.#own.add(messageId);
      this.#pending.set(messageId, { text, to, resolve, reject });
    });
  }

  /** Says whether the participant is writing at the moment. @param {boolean} active */
  setTyping(active) {
    this.#room.send(encodeClientChat({ type: 'typing', active }));
  }

  /** A seat was taken. @param {ChatPosition} position @param {number} bytesMax */
  joined({ epoch }, bytesMax) {
    this.#bytesMax = bytesMax;
    if (epoch === this.#position.epoch) return;
    this.#messages = [];
    this.#seen.clear();
    this.#position = { epoch, sequence: 0 };
  }

  /** @param {Extract<ServerChat, { type: 'accepted' }>} accepted */
  accepted({ messageId, sequence, sentAtMs }) {
    const id = hexOf(messageId);
    const pending = this.#pending.get(id);
    if (!pending) return;
    const { id: from, name } = this.#room.self();
    const { text, to } = pending;
    this.#keep({ sequence, messageId: id, sentAt: new Date(sentAtMs), from, fromName: name, to, text, own: true });
  }

  /** @param {Extract<ServerChat, { type: 'refused' }>} refused */
  refused({ messageId, reason, message }) {
    const id = hexOf(messageId);
    this.#pending.get(id)?.reject(new TertuliaError(reason, message));
    this.#pending.delete(id);
  }

  /** @param {Extract<ServerChat, { type: 'message' }>} message */
  message({ sequence, messageId, sentAtMs, from, fromName, to, body }) {
    const id = hexOf(messageId);
    const own = this.#own.has(id) || from === this.#room.self().id;
    this.#keep({ sequence, messageId: id, sentAt: new Date(sentAtMs), from, fromName, to, text: body, own });
  }

  /** @param {Extract<ServerChat, { type: 'caughtUp' }>} caughtUp */
  caughtUp({ position }) {
    this.#position = { epoch: position.epoch, sequence: Math.max(position.sequence, this.#position.sequence) };
  }

  /** The session ended: what is not acknowledged may or may not have arrived. */
  closed() {
    for (const { reject } of this.#pending.values()) {
      reject(new TertuliaError('connection_lost', 'The connection ended before the relay confirmed the message. Join again, then send it again.'));
    }
    this.#pending.clear();
  }

  /** Keeps a message in its place, once, and takes it as the acknowledgement if it is one's own. @param {ChatMessage} message */
  #keep(message) {
    const pending = this.#pending.get(message.messageId);
    this.#pending.delete(message.messageId);
    pending?.resolve({ sequence: message.sequence, sentAt: message.sentAt });
    if (this.#seen.has(message.sequence)) return;
    this.#seen.add(message.sequence);
    const after = this.#messages.findLastIndex(({ sequence }) => sequence < message.sequence);
    this.#messages.splice(after + 1, 0, message);
    if (this.#messages.length > MESSAGES_MAX) this.#seen.delete(this.#messages.shift()?.sequence);
    this.#position = { ...this.#position, sequence: Math.max(this.#position.sequence, message.sequence) };
    this.#room.received(message);
  }
}

/** 16 random bytes, hexadecimal. */
export function newMessageId() {
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}

/** @param {Uint8Array} bytes */
function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {string} hex */
function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

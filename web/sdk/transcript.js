/** The messages of a room: every one once, in the order of the relay. */

/** @typedef {import('./wire/messages.js').ChatPosition} ChatPosition */

/** @typedef {'none' | 'encrypted' | 'unreadable'} Protection `unreadable`: encrypted with a key that is not here; the text is empty */

/**
 * @typedef {object} ChatMessage
 * @property {number} epoch which count its number belongs to: a room that lost its history begins another one
 * @property {number} sequence its number in the room; 0 if the relay could not keep it
 * @property {boolean} kept whether those who come later get it too
 * @property {string} messageId the sender's own id, hexadecimal
 * @property {Date} sentAt when the relay took it
 * @property {number} from participant id
 * @property {string} fromName what they were called then
 * @property {number | null} to participant id; `null`: everyone
 * @property {string} text
 * @property {boolean} own
 * @property {Protection} protection whether others than those who have the key can read it
 */

/** Messages kept in the page; the oldest go first. */
export const MESSAGES_MAX = 5000;

/** Ids that are remembered to tell a repetition: more than a relay keeps of a room, so that a whole replay is known. */
export const IDS_MAX = 10_000;

export class Transcript {
  /** @type {ChatMessage[]} */
  #messages = [];
  /** In the order in which they came. @type {Set<string>} */
  #ids = new Set();
  /** @type {ChatPosition} */
  #position = { epoch: 0, sequence: 0 };

  /** @returns {readonly ChatMessage[]} */
  get messages() {
    return this.#messages;
  }

  /** The last message that is here, to ask for what follows it. @returns {ChatPosition} */
  get position() {
    return this.#position;
  }

  /** A session began, in a room whose messages are counted in `epoch`. @param {number} epoch */
  begin(epoch) {
    if (epoch !== this.#position.epoch) this.#position = { epoch, sequence: 0 };
  }

  /** All up to `sequence` is here. @param {number} sequence */
  advance(sequence) {
    const { epoch } = this.#position;
    this.#position = { epoch, sequence: Math.max(sequence, this.#position.sequence) };
  }

  /**
   * Takes a message in its place.
   * @param {Omit<ChatMessage, 'epoch' | 'kept'>} message
   * @returns {ChatMessage | null} `null`: it was here already
   */
  add(message) {
    const { epoch, sequence: last } = this.#position;
    this.advance(message.sequence);
    if (this.#ids.has(message.messageId)) return null;
    this.#ids.add(message.messageId);
    if (this.#ids.size > IDS_MAX) this.#ids.delete(/** @type {string} */ (this.#ids.values().next().value));
    const kept = message.sequence > 0;
    const taken = { ...message, epoch, kept };
    // Only the acknowledgement of a repetition can be late. It goes where the others have it.
    const isLate = kept && message.sequence < last;
    const at = isLate ? this.#messages.findIndex((other) => other.epoch === epoch && other.sequence > taken.sequence) : -1;
    this.#messages.splice(at < 0 ? this.#messages.length : at, 0, taken);
    if (this.#messages.length > MESSAGES_MAX) this.#messages.shift();
    return taken;
  }
}

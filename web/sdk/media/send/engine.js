/** The worker with the encoders, started when it is first needed, and the way of its datagrams to the session. */
import { Encoding } from './encoding.js';
import { FrameCipher } from '../encryption.js';
import { Outgoing } from './outgoing.js';

/** @typedef {import('./encoding.js').EncodingStatistics} EncodingStatistics */
/** @typedef {import('./encoding.js').ToWorker} ToWorker */

/**
 * @typedef {object} EngineOptions
 * @property {import('./publishing.js').Link} link
 * @property {string} [encryptionKey]
 * @property {(key: number, reason: string) => void} failed an encoder gives nothing any more
 * @property {() => void} crashed none does
 * @property {(tracks: EncodingStatistics[]) => void} counted a second has passed
 */

export class Engine {
  #options;
  #outgoing;
  /** @type {Promise<Encoding> | null} */
  #encoding = null;
  #isPaused = true;
  #room = '';
  /** Datagrams of this session that the browser had not taken when it was looked last, and whether there were more of them than before. */
  #leftOut = { before: 0, grew: false };
  /** Of the last second. @type {{ target: number, tracks: EncodingStatistics[] }} */
  statistics = { target: 0, tracks: [] };

  /** @param {EngineOptions} options */
  constructor(options) {
    this.#options = options;
    const { link } = options;
    this.#outgoing = new Outgoing({
      carrier: () => link.carrier(),
      bufferedBytes: () => link.bufferedBytes(),
      send: (datagrams, sending) => link.sendDatagrams(datagrams, sending),
      requestKeyframe: (key, layer) => this.#tell({ type: 'broken', key, layer }),
      queueing: (delayMs) => this.#tell({ type: 'queueing', delayMs }),
    });
  }

  /** Rejects with `encryption_key` if the key of the link is not whole. @returns {Promise<Encoding>} */
  start() {
    this.#encoding ??= this.#start();
    this.#encoding.catch(() => { this.#encoding = null; });
    return this.#encoding;
  }

  /** There is a session: what is encoded can leave. @param {string} room its name */
  begin(room) {
    this.#room = room;
    this.#isPaused = false;
    this.#leftOut = { before: this.#options.link.datagramsLeftOut(), grew: false };
    this.#outgoing.reset();
    void this.#encoding?.then((encoding) => this.#unpause(encoding)).catch(() => {});
  }

  /** The relay did not get something. @param {import('../../wire/repeat.js').RepeatRequest} request */
  repeat(request) {
    this.#outgoing.repeat(request);
    this.#tell({ type: 'missed' });
  }

  /**
   * A second has passed. What does not leave is missed by the relay, which may not know of it: of a track of which nothing comes, it misses
   * nothing. In one second alone, the page may have been busy itself.
   */
  #lookForLeftOut() {
    const now = this.#options.link.datagramsLeftOut();
    const grew = now > this.#leftOut.before;
    if (grew && this.#leftOut.grew) this.#tell({ type: 'missed' });
    this.#leftOut = { before: now, grew };
  }

  /** Frames of a track that were left out, because a WebSocket did not keep up. @param {number} key */
  leftOut(key) {
    return this.#outgoing.leftOut(key);
  }

  /** There is none. */
  pause() {
    this.#isPaused = true;
    this.#tell({ type: 'pause', isPaused: true });
  }

  stop() {
    void this.#encoding?.then((encoding) => encoding.stop(), () => {});
    this.#encoding = null;
    this.statistics = { target: 0, tracks: [] };
  }

  async #start() {
    const { failed, crashed, counted } = this.#options;
    const encoding = new Encoding({
      datagrams: (frame) => this.#outgoing.send(frame),
      statistics: (target, tracks) => {
        this.statistics = { target, tracks };
        this.#outgoing.bitrate = target;
        this.#lookForLeftOut();
        counted(tracks);
      },
      failed,
      crashed: () => {
        this.#encoding = null;
        crashed();
      },
    });
    try {
      await this.#unpause(encoding);
      return encoding;
    } catch (error) {
      encoding.stop();
      throw error;
    }
  }

  /** The key is that of the room, and nothing may leave that is not encrypted with it. @param {Encoding} encoding */
  async #unpause(encoding) {
    const { encryptionKey, link } = this.#options;
    if (this.#isPaused) return;
    const cipher = encryptionKey ? await FrameCipher.create(encryptionKey, this.#room) : null;
    if (cipher) encoding.tell({ type: 'encrypt', frameKey: cipher.key });
    encoding.tell({ type: 'carrier', carrier: link.carrier() });
    encoding.tell({ type: 'pause', isPaused: this.#isPaused });
  }

  /** @param {ToWorker} message */
  #tell(message) {
    void this.#encoding?.then((encoding) => encoding.tell(message), () => {});
  }
}

/** All that is subscribed to, in the worker: which datagram belongs to which track, what is due when, and what to tell the page. */
import { decodeMedia } from '../../wire.js';
import { AudioReception } from './audio-reception.js';
import { Early } from './early.js';
import { surfaceOf } from './render.js';
import { Synchronisation } from './synchronisation.js';
import { VideoReception } from './video-reception.js';

/** @typedef {import('./layers.js').Layers} Layers */
/** @typedef {import('./layers.js').Size} Size */
/** @typedef {import('./opening.js').Cipher} Cipher */
/** @typedef {import('./remote-track.js').TrackState} TrackState */
/** @typedef {import('../../wire/messages.js').TrackInfo} TrackInfo */

/** @typedef {{ id: number, participant: number, info: TrackInfo, muted: boolean }} ReceivedTrack */
/**
 * What a track needs of the rest.
 * @typedef {object} TrackHost
 * @property {Cipher | null} cipher
 * @property {() => void} sealed a frame could not be opened
 * @property {(state: TrackState) => void} state it is so now
 * @property {(size: Size) => void} resized
 * @property {(code: import('./subscribing.js').FailureCode) => void} failed for good, or for a while
 * @property {(spatialLayer: number) => void} wishKeyframe
 * @property {(timestamp: number) => number} heard what is played now was captured then; says how long ago it was when it is heard, in milliseconds
 * @property {(timestamp: number) => number} holdMs
 * @property {() => boolean} isInterrupted
 * @property {() => number | null} roundTripMs what is sent once more comes so much later; `null`: nothing is
 * @property {(request: import('../../wire/repeat.js').RepeatRequest) => void} repeat asks the relay for it
 */

/**
 * @typedef {(
 *   | { type: 'media', datagram: Uint8Array }
 *   | { type: 'add', track: ReceivedTrack }
 *   | { type: 'remove', track: number }
 *   | { type: 'mute', track: number, muted: boolean }
 *   | { type: 'take', track: number, isTaken: boolean, layers: Layers }
 *   | { type: 'attach', track: number, surface: number, canvas?: OffscreenCanvas, tile: Size }
 *   | { type: 'tile', surface: number, tile: Size }
 *   | { type: 'detach', track: number, surface: number }
 *   | { type: 'release', surface: number }
 *   | { type: 'playout', track: number, port: MessagePort }
 *   | { type: 'output', ms: number }
 *   | { type: 'path', roundTripMs: number | null }
 *   | { type: 'interrupted', isInterrupted: boolean }
 * )} ToReception
 */
/**
 * @typedef {(
 *   | { type: 'state', track: number, state: TrackState }
 *   | { type: 'resized', track: number, size: Size }
 *   | { type: 'failed', track: number, code: import('./subscribing.js').FailureCode }
 *   | { type: 'sealed', participant: number }
 *   | { type: 'wish', track: number, spatialLayer: number }
 *   | { type: 'repeat', request: import('../../wire/repeat.js').RepeatRequest }
 *   | { type: 'levels', levels: { track: number, db: number }[] }
 *   | { type: 'second', tracks: TrackSecond[], malformed: number, unknown: number }
 * )} FromReception
 */
/** @typedef {{ track: number, received: number, lost: number, late: number, isSilent: boolean, jitterMs: number, delayMs: number, bytes: number, stats: Record<string, any> }} TrackSecond */

/** How often it is looked whether something is due, in milliseconds: a fraction of the shortest patience. */
const TICK_MS = 10;
/** How often levels are told, in ticks. */
const LEVELS_TICKS = 10;
const SECOND_TICKS = 100;

export class Reception {
  #tell;
  #cipher;
  /** @type {Map<number, { track: ReceivedTrack, reception: VideoReception | AudioReception, state: TrackState }>} */
  #tracks = new Map();
  #early = new Early();
  /** @type {Map<number, import('./render.js').Surface>} */
  #surfaces = new Map();
  /** By participant and what belongs together. @type {Map<string, Synchronisation>} */
  #synchronisations = new Map();
  /** Participants whose frames could not be opened. @type {Set<number>} */
  #sealed = new Set();
  #outputMs = 0;
  /** @type {number | null} */
  #roundTripMs = null;
  #isInterrupted = false;
  #malformed = 0;
  #unknown = 0;
  #ticks = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {(message: FromReception) => void} tell @param {Cipher | null} cipher */
  constructor(tell, cipher) {
    this.#tell = tell;
    this.#cipher = cipher;
  }

  /** @param {ToReception} message */
  handle(message) {
    switch (message.type) {
      case 'media': return this.#media(message.datagram);
      case 'add': return this.#add(message.track);
      case 'remove': return this.#remove(message.track);
      case 'mute': return this.#tracks.get(message.track)?.reception.mute(message.muted);
      case 'take': return this.#tracks.get(message.track)?.reception.take(message.isTaken, message.layers, performance.now());
      case 'attach': return this.#attach(message);
      case 'tile': return void Object.assign(this.#surfaces.get(message.surface)?.tile ?? {}, message.tile);
      case 'detach': return this.#video(message.track)?.renderer.detach(message.surface);
      case 'release': return void this.#surfaces.delete(message.surface);
      case 'playout': return this.#connect(message.track, message.port);
      case 'output': return void (this.#outputMs = message.ms);
      case 'path': return void (this.#roundTripMs = message.roundTripMs);
      case 'interrupted': return void (this.#isInterrupted = message.isInterrupted);
    }
  }

  /** @param {Uint8Array} datagram */
  #media(datagram) {
    const nowMs = performance.now();
    let media;
    try {
      media = decodeMedia(datagram);
    } catch {
      this.#malformed++;
      return;
    }
    const known = this.#tracks.get(media.track);
    if (known) return known.reception.media(nowMs, media);
    this.#unknown++;
    this.#early.keep(nowMs, media.track, datagram);
  }

  /** @param {ReceivedTrack} track */
  #add(track) {
    if (this.#tracks.has(track.id)) return;
    const nowMs = performance.now();
    const host = this.#hostOf(track);
    const reception = track.info.media.type === 'video' ? new VideoReception(track, host, nowMs) : new AudioReception(track, host);
    this.#tracks.set(track.id, { track, reception, state: 'waiting' });
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    for (const datagram of this.#early.take(nowMs, track.id)) this.#media(datagram);
  }

  /** @param {number} id */
  #remove(id) {
    const known = this.#tracks.get(id);
    if (!known) return;
    known.reception.close();
    this.#tracks.delete(id);
    const { participant } = known.track;
    if ([...this.#tracks.values()].some(({ track }) => track.participant === participant)) return;
    this.#sealed.delete(participant);
    for (const key of this.#synchronisations.keys()) if (key.startsWith(`${participant} `)) this.#synchronisations.delete(key);
    if (this.#tracks.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** @param {ReceivedTrack} track @returns {TrackHost} */
  #hostOf({ id, participant, info: { source } }) {
    const synchronisation = this.#synchronisation(participant, source);
    const wallMs = () => performance.timeOrigin + performance.now();
    return {
      cipher: this.#cipher,
      sealed: () => this.#sealedBy(participant),
      state: (state) => this.#changed(id, state),
      resized: (size) => this.#tell({ type: 'resized', track: id, size }),
      failed: (code) => this.#tell({ type: 'failed', track: id, code }),
      wishKeyframe: (spatialLayer) => this.#tell({ type: 'wish', track: id, spatialLayer }),
      heard: (timestamp) => synchronisation.heard(wallMs(), timestamp, this.#outputMs),
      holdMs: (timestamp) => synchronisation.holdMs(wallMs(), timestamp),
      isInterrupted: () => this.#isInterrupted,
      roundTripMs: () => (this.#isInterrupted ? null : this.#roundTripMs),
      repeat: (request) => this.#tell({ type: 'repeat', request }),
    };
  }

  /** A face belongs to its voice, and a screen to its sound. @param {number} participant @param {string} source */
  #synchronisation(participant, source) {
    const key = `${participant} ${source.startsWith('screen') ? 'screen' : 'person'}`;
    const known = this.#synchronisations.get(key) ?? new Synchronisation();
    this.#synchronisations.set(key, known);
    return known;
  }

  /** @param {number} participant */
  #sealedBy(participant) {
    if (this.#sealed.has(participant)) return;
    this.#sealed.add(participant);
    this.#tell({ type: 'sealed', participant });
  }

  /** @param {number} id @param {TrackState} state */
  #changed(id, state) {
    const known = this.#tracks.get(id);
    if (!known || known.state === state) return;
    known.state = state;
    this.#tell({ type: 'state', track: id, state });
  }

  /** @param {Extract<ToReception, { type: 'attach' }>} message */
  #attach({ track, surface: id, canvas, tile }) {
    if (canvas) this.#surfaces.set(id, surfaceOf(canvas, tile));
    const surface = this.#surfaces.get(id);
    if (surface) this.#video(track)?.attach(id, Object.assign(surface, { tile }));
  }

  /** @param {number} track @param {MessagePort} port */
  #connect(track, port) {
    const reception = this.#tracks.get(track)?.reception;
    if (reception instanceof AudioReception) reception.playout = port;
    else port.close();
  }

  /** @param {number} track */
  #video(track) {
    const reception = this.#tracks.get(track)?.reception;
    return reception instanceof VideoReception ? reception : null;
  }

  #tick() {
    const nowMs = performance.now();
    for (const { reception } of this.#tracks.values()) reception.tick(nowMs);
    this.#ticks++;
    if (this.#ticks % LEVELS_TICKS === 0) this.#tellLevels();
    if (this.#ticks % SECOND_TICKS === 0) this.#tellSecond(nowMs);
  }

  #tellLevels() {
    const levels = [...this.#tracks].flatMap(([track, { reception }]) => (reception instanceof AudioReception ? [{ track, db: reception.takeLevel() }] : []));
    if (levels.length > 0) this.#tell({ type: 'levels', levels });
  }

  /** @param {number} nowMs */
  #tellSecond(nowMs) {
    this.#early.forget(nowMs);
    const tracks = [...this.#tracks].map(([track, { reception }]) => ({ track, ...reception.second(nowMs) }));
    this.#tell({ type: 'second', tracks, malformed: this.#malformed, unknown: this.#unknown });
  }
}

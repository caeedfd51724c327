/**
 * All that is received of the others, on the page's side. Datagrams go to a worker, which puts frames together, decodes, draws, and
 * gives decoded audio to the playouts; here is who is subscribed to what, who is speaking, and what is told to the relay.
 */
import { Arrivals } from './arrivals.js';
import { Asks } from './asks.js';
import { EarlyMedia } from '../../early-media.js';
import { TertuliaError } from '../../error.js';
import { audioContext, isAudioRunning, outputMs, resumeAudio } from '../audio-context.js';
import { decibelsOf, meterLevel } from '../audio-level.js';
import { Speakers } from './speakers.js';
import { Subscription } from './subscription.js';
import { Surfaces } from './surfaces.js';
import { retireWorker, startWorker } from '../worker-url.js';
import { encodeRepeatRequest } from '../../wire/repeat.js';

/** @typedef {import('../../participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('../../wire/messages.js').ClientMessage} ClientMessage */
/** @typedef {import('./reception.js').FromReception} FromReception */
/** @typedef {import('./reception.js').ToReception} ToReception */
/** @typedef {import('./remote-track.js').RemoteTrack} RemoteTrack */
/**
 * What the engine gets of the room.
 * @typedef {object} Link
 * @property {(request: import('../../requests.js').Request) => Promise<unknown>} ask
 * @property {(message: ClientMessage) => void} tell dropped while the room is not connected
 * @property {(type: any, value: any) => void} emit
 * @property {() => { id: number }} self the local participant
 * @property {(datagram: Uint8Array<ArrayBuffer>) => void} sendDatagram zero byte included
 * @property {() => number | null} pathMs the round trip of a path that loses datagrams; `null`: there is none, or not known yet
 */

/**
 * @typedef {object} SubscribingEvents
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackSubscribed
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackUnsubscribed
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackStateChanged
 * @property {{ participants: { id: number }[] }} activeSpeakers the loudest first; oneself may be among them
 * @property {undefined} audioBlocked the browser keeps audio silent: `startAudio` after a click
 * @property {{ participant: RemoteParticipant }} encryptionFailed frames of this participant cannot be opened: another key, or none
 */

/** What the protocol carries in a report. */
const U16_MAX = 0xffff;
/** Tracks in one report: far below the bound of a message. */
const REPORTED_MAX = 500;

const WORKER = new URL('./receive.worker.js', import.meta.url);

/** What may become of a track. @typedef {keyof typeof FAILURES} FailureCode */
const FAILURES = Object.freeze({
  codec_unsupported: 'This browser cannot decode the video or audio that a participant sends. Use a newer browser, or ask them to use another codec.',
  playback_failed: 'This page cannot play audio. Reload it, or use a newer browser.',
  worker_failed: 'The part of this page that plays the others cannot be loaded. Reload the page; if it stays so, the page has to allow workers of the relay or of blob: addresses.',
  codec_failed: 'Decoding the video or audio of a participant failed again and again. It is tried again from time to time; if it stays so, reload the page.',
});

export class Subscribing {
  #link;
  #options;
  /** @type {Worker | null} */
  #worker = null;
  #early = new EarlyMedia();
  #arrivals = new Arrivals((datagrams) => this.#worker?.postMessage(datagrams, datagrams.map(({ buffer }) => buffer)));
  /** By track. @type {Map<number, Subscription>} */
  #subscriptions = new Map();
  #surfaces = new Surfaces((surface) => this.#post({ type: 'release', surface }));
  #asks = new Asks();
  #speakers = new Speakers();
  /** Who speaks. @type {number[]} */
  #speaking = [];
  /** Who speaks, as the relay says: it hears those who are not heard here. @type {number[]} */
  #relayed = [];
  /** Whose cameras the relay sends to everyone; `null`: everybody's. @type {Set<number> | null} */
  #onStage = null;
  #isAudioBlocked = false;
  #room = '';
  #counts = { malformed: 0, unknown: 0 };
  #seen = () => this.#lookAgain();

  /** @param {Link} link @param {{ encryptionKey?: string | null }} [options] `encryptionKey`: the secret of the link */
  constructor(link, options = {}) {
    this.#link = link;
    this.#options = options;
  }

  /** A datagram came: header and payload. Its buffer is given away. @param {Uint8Array} bytes */
  media(bytes) {
    // The first track may be announced a moment later.
    if (!this.#worker) return this.#early.keep(bytes);
    const { buffer } = bytes;
    // Some carriers leave their prefix in front. A buffer that holds more belongs to others as well.
    const isOwn = buffer instanceof ArrayBuffer && buffer.byteLength - bytes.byteLength <= 1;
    this.#arrivals.push(/** @type {Uint8Array<ArrayBuffer>} */ (isOwn ? bytes : bytes.slice()));
  }

  /** A track is there. @param {RemoteParticipant} participant @param {RemoteTrack} track */
  published(participant, track) {
    if (this.#subscriptions.has(track.id)) return;
    this.#start();
    const told = { participant, track };
    const subscription = new Subscription(participant, track, {
      ask: (request) => void this.#link.ask(request).catch(() => {}),
      post: (message, transfer) => this.#post(message, transfer),
      surfaceOf: (canvas) => this.#surfaces.surfaceOf(canvas),
      release: (canvas) => this.#surfaces.release(canvas),
      failed: (code) => this.#failed(told, code),
      isOnStage: (id) => this.#onStage?.has(id) ?? true,
      heldChanged: () => this.#link.emit('trackStateChanged', told),
      subscribed: (isSubscribed) => this.#link.emit(isSubscribed ? 'trackSubscribed' : 'trackUnsubscribed', told),
    });
    this.#subscriptions.set(track.id, subscription);
    if (track.isSubscribed) this.#link.emit('trackSubscribed', told);
    if (track.kind === 'audio') void this.startAudio();
  }

  /** A track is gone. @param {RemoteTrack} track */
  unpublished(track) {
    const subscription = this.#subscriptions.get(track.id);
    if (!subscription) return;
    this.#subscriptions.delete(track.id);
    subscription.close();
    const { participant } = subscription;
    if (![...this.#subscriptions.values()].some((other) => other.participant === participant && other.track.kind === 'audio')) this.#speakers.left(participant.id);
    if (track.isSubscribed) this.#link.emit('trackUnsubscribed', { participant, track });
  }

  /** It is muted, or not any more. @param {RemoteTrack} track */
  muted(track) {
    this.#subscriptions.get(track.id)?.muted();
  }

  /** There is a session, the first or another. Before what it tells of tracks. @param {{ room: string }} welcome `room`: its name */
  seated({ room }) {
    this.#room = room;
    this.#relayed = [];
    this.#setStage(null);
    this.#post({ type: 'interrupted', isInterrupted: false });
    this.#tellPath();
    for (const subscription of this.#subscriptions.values()) subscription.assert();
  }

  /** The session broke; another will follow. Pictures stay. */
  interrupted() {
    this.#post({ type: 'interrupted', isInterrupted: true });
  }

  /** Nothing more comes. What is shown stays as it is until the program takes it away. */
  closed() {
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
    if (this.#worker) retireWorker(this.#worker);
    this.#worker = null;
    this.#surfaces = new Surfaces((surface) => this.#post({ type: 'release', surface }));
    this.#speakers = new Speakers();
    [this.#speaking, this.#relayed, this.#onStage] = [[], [], null];
    this.#isAudioBlocked = false;
    document.removeEventListener('visibilitychange', this.#seen);
  }

  /** Lets audio be heard. Call it while a click is being handled, where `audioBlocked` was told. @returns {Promise<boolean>} whether it is heard */
  async startAudio() {
    const isHeard = await resumeAudio();
    if (!isHeard && !this.#isAudioBlocked) this.#link.emit('audioBlocked', undefined);
    this.#isAudioBlocked = !isHeard;
    return isHeard;
  }

  /** Where audio is heard. @param {string} deviceId empty: the browser's own choice */
  async setSpeaker(deviceId) {
    const context = /** @type {AudioContext & { setSinkId?: (id: string) => Promise<void> }} */ (audioContext());
    if (!context.setSinkId) throw new TertuliaError('speaker_unsupported', 'This browser cannot choose the speaker. Choose it in the settings of the system.');
    try {
      await context.setSinkId(deviceId);
    } catch (cause) {
      throw new TertuliaError('device_missing', 'This speaker cannot be used. Check that it is plugged in, or choose another one.', { cause });
    }
  }

  /** How loud oneself is, so that one is among the speakers: about ten times a second. @param {number} level 0 to 1, as of a LocalTrack */
  setOwnLevel(level) {
    this.#speakers.heard(performance.now(), this.#link.self().id, decibelsOf(level));
    this.#tellSpeakers();
  }

  /** The relay says who speaks. Who is heard here is known sooner from what is heard. @param {number[]} ids the loudest first */
  relaySpeakers(ids) {
    this.#relayed = ids;
    this.#tellSpeakers();
  }

  /** The relay says whose cameras it sends to everyone. @param {number[]} ids */
  relayStage(ids) {
    this.#setStage(new Set(ids));
  }

  /** What is received: of the last second, and altogether. */
  stats() {
    const tracks = [...this.#subscriptions.values()].map((subscription) => subscription.stats());
    const sum = (/** @type {'received' | 'lost' | 'bitrate'} */ name) => tracks.reduce((total, track) => total + track[name], 0);
    const [received, lost] = [sum('received'), sum('lost')];
    return { lossIn: lost > 0 ? lost / (received + lost) : 0, bitrateIn: sum('bitrate'), ...this.#counts, tracks };
  }

  #start() {
    if (this.#worker) return;
    this.#worker = startWorker(WORKER);
    this.#worker.onmessage = ({ data }) => this.#heard(data);
    this.#worker.onerror = (event) => this.#erred(event);
    const { encryptionKey: secret } = this.#options;
    this.#worker.postMessage({ type: 'begin', encryption: secret ? { secret, room: this.#room } : null });
    for (const media of this.#early.take()) this.media(media);
    this.#tellPath();
    document.addEventListener('visibilitychange', this.#seen);
  }

  /** @param {Set<number> | null} onStage */
  #setStage(onStage) {
    this.#onStage = onStage;
    for (const subscription of this.#subscriptions.values()) subscription.stageChanged();
  }

  #tellPath() {
    this.#post({ type: 'path', roundTripMs: this.#link.pathMs() });
  }

  /** @param {ToReception} message @param {Transferable[]} [transfer] */
  #post(message, transfer = []) {
    this.#arrivals.flush();
    this.#worker?.postMessage(message, transfer);
  }

  /** @param {FromReception} message */
  #heard(message) {
    switch (message.type) {
      case 'levels': return this.#levels(message.levels);
      case 'second': return this.#second(message);
      case 'sealed': return this.#sealed(message.participant);
      case 'repeat': return this.#asks.take(performance.now()) ? this.#link.sendDatagram(encodeRepeatRequest(message.request)) : undefined;
    }
    const subscription = this.#subscriptions.get(message.track);
    if (!subscription) return;
    const { participant, track } = subscription;
    switch (message.type) {
      case 'resized': return track.resized(message.size);
      case 'wish': return this.#link.tell({ type: 'requestKeyframe', track: track.id, spatialLayer: message.spatialLayer });
      case 'failed': return this.#failed(subscription, message.code);
      case 'state':
        track.state = message.state;
        return this.#link.emit('trackStateChanged', { participant, track });
    }
  }

  /** What goes wrong in the worker has a message and costs a frame; a worker that cannot be loaded has none. @param {ErrorEvent} event */
  #erred({ message }) {
    if (message) return;
    for (const subscription of this.#subscriptions.values()) this.#failed(subscription, 'worker_failed');
  }

  /** @param {{ participant: RemoteParticipant, track: RemoteTrack }} of @param {FailureCode} code */
  #failed({ participant, track }, code) {
    this.#link.emit('mediaFailed', { source: track.source, error: new TertuliaError(code, FAILURES[code]), participant, track });
  }

  /** @param {number} id */
  #sealed(id) {
    const of = [...this.#subscriptions.values()].find(({ participant }) => participant.id === id);
    if (of) this.#link.emit('encryptionFailed', { participant: of.participant });
  }

  /** @param {{ track: number, db: number }[]} levels */
  #levels(levels) {
    const now = performance.now();
    for (const { track: id, db } of levels) {
      const subscription = this.#subscriptions.get(id);
      if (!subscription) continue;
      subscription.track.level = meterLevel(db);
      if (subscription.track.source === 'microphone') this.#speakers.heard(now, subscription.participant.id, db);
    }
    this.#tellSpeakers();
  }

  /** Whether what someone says comes here; what oneself says does. @param {number} id */
  #hears(id) {
    const microphones = [...this.#subscriptions.values()].filter(({ participant, track }) => participant.id === id && track.source === 'microphone');
    return id === this.#link.self().id || microphones.some(({ track }) => track.isSubscribed);
  }

  #tellSpeakers() {
    const heard = this.#speakers.active(performance.now());
    const ids = [...heard, ...this.#relayed.filter((id) => !this.#hears(id))];
    const isSame = ids.length === this.#speaking.length && ids[0] === this.#speaking[0] && ids.every((id) => this.#speaking.includes(id));
    if (isSame) return;
    this.#speaking = ids;
    const self = this.#link.self();
    const all = new Map([...this.#subscriptions.values()].map(({ participant }) => [participant.id, /** @type {{ id: number }} */ (participant)])).set(self.id, self);
    this.#link.emit('activeSpeakers', { participants: ids.flatMap((id) => all.get(id) ?? []) });
  }

  /** @param {Extract<FromReception, { type: 'second' }>} second */
  #second({ tracks, malformed, unknown }) {
    this.#counts = { malformed, unknown };
    for (const second of tracks) this.#subscriptions.get(second.track)?.second(second);
    const reported = tracks.filter(({ received, lost }) => received + lost > 0).slice(0, REPORTED_MAX);
    if (reported.length > 0) this.#link.tell({ type: 'report', tracks: reported.map(trackReport) });
    this.#post({ type: 'output', ms: outputMs() });
    this.#tellPath();
    if (isAudioRunning()) this.#isAudioBlocked = false;
  }

  #lookAgain() {
    for (const subscription of this.#subscriptions.values()) subscription.update();
  }
}

/** @param {import('./reception.js').TrackSecond} second */
function trackReport({ track, received, lost, jitterMs, delayMs }) {
  const bounded = (/** @type {number} */ ms) => Math.min(U16_MAX, Math.max(0, Math.round(ms)));
  return { track, received, lost, jitterMs: bounded(jitterMs), delayMs: bounded(delayMs) };
}

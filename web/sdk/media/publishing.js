/** What a participant publishes, over all its sessions: tracks, their encoders, and what the relay was told of them. */
import { TertuliaError } from '../error.js';
import { BASELINE } from './codec.js';
import { deviceLost, watchDevices } from './devices.js';
import { Encoding } from './encoding.js';
import { FrameCipher } from './encryption.js';
import { LocalTrack, createLocalTrack, createScreenTracks, makeLocalTrack } from './local-track.js';
import { Outgoing } from './outgoing.js';
import { Publication, audioInfo, videoInfo, videoWish } from './publication.js';

/** @typedef {import('./devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./devices.js').TrackSource} TrackSource */
/** @typedef {import('./encoding.js').EncodingStatistics} EncodingStatistics */
/** @typedef {import('../wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('../requests.js').Request} Request */
/** @typedef {import('../requests.js').Answer} Answer */

/**
 * What the engine gets of the room.
 * @typedef {object} Link
 * @property {(request: Request) => Promise<Answer>} ask rejects with `not_connected` or `connection_lost` while there is no session
 * @property {(datagrams: Uint8Array<ArrayBuffer>[], options: { discardable: boolean }) => void} sendDatagrams zero bytes included
 * @property {() => number} bufferedBytes that wait in the carrier
 * @property {(type: any, value: any) => void} emit
 * @property {() => import('../carrier.js').Carrier | null} carrier
 */
/**
 * @typedef {object} PublishingEvents
 * @property {{ track: LocalTrack }} localTrackPublished
 * @property {{ track: LocalTrack }} localTrackUnpublished
 * @property {{ track: LocalTrack, muted: boolean, byAdmin: boolean }} localTrackMuted
 * @property {{ source: TrackSource, error: TertuliaError }} mediaFailed
 * @property {undefined} devicesChanged
 */
/** @typedef {{ width?: number, height?: number, frameRate?: number, codec?: import('./codec.js').VideoCodecChoice }} VideoOptions of the camera, unless said otherwise when it is turned on */
/** @typedef {{ video?: VideoOptions, encryptionKey?: string }} PublishingOptions */
/** @typedef {{ track: number, spatialLayers: number, temporalLayer: number }} LayersWanted */
/** @typedef {{ track: number, best: import('./rate.js').Report, worst: import('./rate.js').Report }} Feedback */

/** What the relay may say of tracks whose ids are still on the way. */
const EARLY_MAX = 32;

export class Publishing {
  #link;
  #options;
  #outgoing;
  /** @type {Map<TrackSource, Publication>} */
  #publications = new Map();
  /** @type {Promise<Encoding> | null} */
  #encoding = null;
  /** What a source is doing, so that it does one thing after the other. @type {Map<TrackSource, Promise<unknown>>} */
  #turns = new Map();
  /** Devices that were chosen while they were off. @type {Map<TrackSource, string>} */
  #chosen = new Map();
  /** Said of tracks that have no id here yet. @type {Map<number, LayersWanted>} */
  #early = new Map();
  #keys = 0;
  #isSeated = false;
  #room = '';
  /** @type {(() => void) | null} */
  #unwatch = null;
  /** @type {{ target: number, tracks: EncodingStatistics[] }} */
  #statistics = { target: 0, tracks: [] };

  /** @param {Link} link @param {PublishingOptions} options */
  constructor(link, options) {
    this.#link = link;
    this.#options = options;
    this.#outgoing = new Outgoing({
      carrier: () => link.carrier(),
      bufferedBytes: () => link.bufferedBytes(),
      send: (datagrams, sending) => link.sendDatagrams(datagrams, sending),
      requestKeyframe: (key, layer) => this.#tell({ type: 'broken', key, layer }),
      queueing: (delayMs) => this.#tell({ type: 'queueing', delayMs }),
    });
  }

  /** What is published, or will be once there is a session. @returns {ReadonlyMap<TrackSource, LocalTrack>} */
  get tracks() {
    return new Map(Array.from(this.#publications, ([source, { track }]) => [source, track]));
  }

  /**
   * Turns a camera or microphone on or off. An off camera is let go; an off microphone is kept for a quick return.
   * @param {'camera' | 'microphone'} source @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} `null`: there is none
   */
  setEnabled(source, isOn, options = {}) {
    return this.#inTurn(source, () => (isOn ? this.#enable(source, options) : this.#disable(source)));
  }

  /** Begins or ends to share a screen, with its sound if the person allows it. @param {boolean} isOn @param {CaptureOptions} [options] @returns {Promise<LocalTrack | null>} */
  setScreenShareEnabled(isOn, options = {}) {
    return this.#inTurn('screen', async () => {
      const shared = this.#publications.get('screen')?.track ?? null;
      if (isOn && shared) return shared;
      if (isOn) return this.#shareScreen(options);
      await this.#unpublish(this.#publications.get('screen'));
      await this.#unpublish(this.#publications.get('screenAudio'));
      return null;
    });
  }

  /** @param {MediaStreamTrack | LocalTrack} media @param {{ source?: TrackSource } & CaptureOptions} [options] @returns {Promise<LocalTrack>} */
  async publishTrack(media, { source, ...options } = {}) {
    const track = media instanceof LocalTrack ? media : await makeLocalTrack(source ?? 'other', media, options);
    return this.#inTurn(track.source, async () => {
      if (this.#publications.has(track.source)) {
        throw new TertuliaError('source_taken', `There is a ${track.source} already. Unpublish it first, or publish this as another source.`);
      }
      return this.#publish(track);
    });
  }

  /** Also lets its device go. @param {LocalTrack} track */
  unpublishTrack(track) {
    return this.#inTurn(track.source, () => this.#unpublish(this.#of(track)));
  }

  /** Sends nothing, and says so; the device goes on. @param {LocalTrack} track @param {boolean} muted */
  setMuted(track, muted) {
    return this.#inTurn(track.source, async () => {
      const publication = this.#of(track);
      if (publication && !muted && track.isStopped) await track.reopen();
      if (publication) await this.#mute(publication, muted);
    });
  }

  /** Takes another camera or microphone, now or when it is turned on. @param {MediaDeviceKind} kind @param {string} deviceId */
  switchActiveDevice(kind, deviceId) {
    const source = sourceOf(kind);
    return this.#inTurn(source, async () => {
      const track = this.#publications.get(source)?.track;
      if (track && !track.isStopped) await track.reopen(deviceId);
      this.#chosen.set(source, deviceId);
    });
  }

  /** @param {MediaDeviceKind} kind @returns {string | null} `null`: not known before one is opened */
  activeDevice(kind) {
    const source = sourceOf(kind);
    const track = this.#publications.get(source)?.track;
    return (track && !track.isStopped ? track.deviceId : this.#chosen.get(source)) || null;
  }

  /** There is a session, the first or another. @param {{ resumed: boolean, tracks: PublishedTrack[], room: string }} welcome `room`: its name */
  seated({ resumed, tracks, room }) {
    this.#room = room;
    this.#isSeated = true;
    this.#early.clear();
    this.#outgoing.reset();
    this.#unwatch ??= watchDevices(() => this.#link.emit('devicesChanged', undefined));
    this.#tell({ type: 'carrier', carrier: this.#link.carrier() });
    this.#tell({ type: 'pause', isPaused: false });
    const kept = new Set();
    for (const publication of this.#publications.values()) {
      const { id, info: { source } } = publication;
      const known = resumed ? tracks.find((track) => track.track === id || (id === 0 && track.info.source === source)) : undefined;
      if (known) kept.add(known.track);
      this.#later(publication, known ? this.#resume(publication, known) : this.#announce(publication));
    }
    for (const { track } of tracks) if (!kept.has(track)) void this.#ask({ type: 'unpublish', track }).catch(() => {});
  }

  /** There is no session at the moment. */
  interrupted() {
    this.#isSeated = false;
    this.#tell({ type: 'pause', isPaused: true });
    for (const publication of this.#publications.values()) publication.isAnnouncedMuted = false;
  }

  /** It is over: every device is let go. */
  closed() {
    this.#isSeated = false;
    this.#unwatch?.();
    this.#unwatch = null;
    for (const publication of [...this.#publications.values()]) this.#end(publication);
    this.#stopEncoding();
  }

  /** @param {number} track @param {number} layer */
  keyframeRequested(track, layer) {
    const publication = this.#byId(track);
    if (publication) this.#tell({ type: 'keyframe', key: publication.key, layer });
  }

  /** @param {LayersWanted} wanted */
  layersWanted(wanted) {
    const publication = this.#byId(wanted.track);
    if (publication) return this.#tellLayers(publication, wanted);
    // The answer that gives the track its id may be about to be looked at.
    if (this.#early.size < EARLY_MAX) this.#early.set(wanted.track, wanted);
  }

  /** @param {Feedback} feedback */
  feedback({ track, best, worst }) {
    const publication = this.#byId(track);
    if (publication) this.#tell({ type: 'feedback', key: publication.key, best, worst });
  }

  /** An admin muted it; only the person can end that. @param {number} track @param {boolean} muted */
  mutedByAdmin(track, muted) {
    const publication = this.#byId(track);
    if (publication && muted && !publication.track.muted) this.#muteByAdmin(publication);
  }

  /** Of the last second: `targetBitrate` in bits per second, `tracks` with what was sent and how it was encoded. */
  stats() {
    const { target, tracks } = this.#statistics;
    const publications = new Map(Array.from(this.#publications.values(), (publication) => [publication.key, publication]));
    return {
      targetBitrate: target,
      tracks: tracks.flatMap(({ key, bits, frames, ...rest }) => {
        const publication = publications.get(key);
        if (!publication) return [];
        const { track, info: { codec } } = publication;
        return [{ track: track.id, source: track.source, kind: track.kind, codec, bitrate: bits, frameRate: frames, ...rest }];
      }),
    };
  }

  /** @template T @param {TrackSource} source @param {() => Promise<T>} act @returns {Promise<T>} */
  #inTurn(source, act) {
    const turn = (this.#turns.get(source) ?? Promise.resolve()).then(act);
    this.#turns.set(source, turn.catch(() => {}));
    return turn;
  }

  /** @param {'camera' | 'microphone'} source @param {CaptureOptions} options @returns {Promise<LocalTrack>} */
  async #enable(source, options) {
    const publication = this.#publications.get(source);
    const deviceId = this.#chosen.get(source);
    if (!publication) {
      const defaults = source === 'camera' ? this.#options.video : {};
      return this.#publish(await createLocalTrack({ source, ...defaults, ...(deviceId ? { deviceId } : {}), ...options }));
    }
    if (publication.track.isStopped) await publication.track.reopen(deviceId !== publication.track.options.deviceId ? deviceId : undefined);
    await this.#mute(publication, false);
    return publication.track;
  }

  /** @param {'camera' | 'microphone'} source @returns {Promise<LocalTrack | null>} */
  async #disable(source) {
    const publication = this.#publications.get(source);
    if (!publication) return null;
    if (source === 'camera') publication.track.stop();
    await this.#mute(publication, true);
    return publication.track;
  }

  /** @param {CaptureOptions} options @returns {Promise<LocalTrack>} */
  async #shareScreen(options) {
    const [picture, sound] = await createScreenTracks(options);
    try {
      await this.#publish(picture);
    } catch (error) {
      sound?.stop();
      throw error;
    }
    // The picture is worth sharing without it.
    if (sound) await this.#publish(sound).catch((error) => this.#link.emit('mediaFailed', { source: 'screenAudio', error }));
    return picture;
  }

  /** @param {LocalTrack} track @returns {Promise<LocalTrack>} */
  async #publish(track) {
    try {
      const publication = await this.#prepare(track, this.#options.video?.codec ?? BASELINE);
      if (this.#isSeated) await this.#announce(publication);
      return track;
    } catch (error) {
      const publication = this.#of(track);
      if (publication) this.#end(publication);
      track.stop();
      throw error;
    }
  }

  /** Gives a track its encoder. @param {LocalTrack} track @param {import('./codec.js').VideoCodecChoice} choice */
  async #prepare(track, choice) {
    const encoding = await this.#start();
    const announced = track.kind === 'audio' ? { info: audioInfo(track), plan: null } : await prepareVideo(track, choice, encoding);
    /** @type {Publication} */
    const publication = new Publication(++this.#keys, track, encoding, announced, () => this.#hiddenChanged(publication));
    this.#publications.set(track.source, publication);
    track.changed = () => publication.feed();
    track.ended = () => void this.#lost(publication);
    publication.applyMute();
    return publication;
  }

  /** Tells the relay of a track that it does not know. @param {Publication} publication */
  async #announce(publication) {
    try {
      const answer = await this.#ask({ type: 'publish', track: publication.info });
      if (answer.type !== 'published' || !this.#has(publication)) return;
      this.#identify(publication, answer.track);
      publication.isAnnouncedMuted = false;
      await this.#tellMuted(publication);
    } catch (error) {
      // The next session announces it.
      if (!isInterruption(error)) throw error;
    }
  }

  /** The relay still knows the track. @param {Publication} publication @param {PublishedTrack} known */
  async #resume(publication, known) {
    this.#identify(publication, known.track);
    publication.isAnnouncedMuted = known.muted;
    // Only an admin can have done that meanwhile.
    if (known.muted && !publication.isMuted) return this.#muteByAdmin(publication);
    await this.#tellMuted(publication);
  }

  /** @param {Publication} publication @param {number} id */
  #identify(publication, id) {
    publication.published(id);
    const wanted = this.#early.get(id);
    if (wanted) this.#tellLayers(publication, wanted);
    if (publication.wasPublished) return;
    publication.wasPublished = true;
    this.#link.emit('localTrackPublished', { track: publication.track });
  }

  /** @param {Publication | undefined} publication */
  async #unpublish(publication) {
    if (!publication || !this.#has(publication)) return;
    const { id } = publication;
    this.#end(publication);
    if (id !== 0) await this.#ask({ type: 'unpublish', track: id }).catch((error) => { if (!isInterruption(error)) throw error; });
  }

  /** @param {Publication} publication */
  #end(publication) {
    const { track } = publication;
    this.#publications.delete(track.source);
    publication.end();
    track.stop();
    if (publication.wasPublished) this.#link.emit('localTrackUnpublished', { track });
  }

  /** @param {Publication} publication @param {boolean} muted */
  async #mute(publication, muted) {
    const { track } = publication;
    if (track.muted === muted) return;
    track.muted = muted;
    publication.applyMute();
    this.#link.emit('localTrackMuted', { track, muted, byAdmin: false });
    await this.#tellMuted(publication);
  }

  /** @param {Publication} publication */
  #muteByAdmin(publication) {
    const { track } = publication;
    track.muted = true;
    publication.isAnnouncedMuted = true;
    publication.applyMute();
    if (track.source === 'camera') track.stop();
    this.#link.emit('localTrackMuted', { track, muted: true, byAdmin: true });
  }

  /** @param {Publication} publication */
  async #tellMuted(publication) {
    const { id, isMuted } = publication;
    if (id === 0 || !this.#isSeated || isMuted === publication.isAnnouncedMuted) return;
    publication.isAnnouncedMuted = isMuted;
    await this.#ask({ type: 'setMuted', track: id, muted: isMuted }).catch((error) => { if (!isInterruption(error)) throw error; });
  }

  /** The page is not looked at, or is again. @param {Publication} publication */
  #hiddenChanged(publication) {
    publication.applyMute();
    if (this.#has(publication)) this.#later(publication, this.#tellMuted(publication));
  }

  /** The device stopped by itself. @param {Publication} publication */
  async #lost(publication) {
    const { track } = publication;
    if (!this.#has(publication)) return;
    if (track.source !== 'camera' && track.source !== 'microphone') return this.#later(publication, this.#unpublish(publication));
    track.stop();
    this.#later(publication, this.#mute(publication, true));
    this.#link.emit('mediaFailed', { source: track.source, error: deviceLost(track.source) });
  }

  /** Its encoder failed twice: the baseline is tried once, or it is over. @param {number} key @param {string} reason */
  async #failed(key, reason) {
    const publication = [...this.#publications.values()].find((candidate) => candidate.key === key);
    if (!publication) return;
    const { track, info: { codec }, id } = publication;
    const error = new TertuliaError('codec_failed', 'The browser stopped encoding. Turn it on again, or reload the page.', { cause: reason });
    if (track.kind === 'audio' || codec === BASELINE || track.isStopped) return this.#giveUp(publication, error);
    publication.end();
    if (id !== 0) void this.#ask({ type: 'unpublish', track: id }).catch(() => {});
    try {
      const again = await this.#prepare(track, BASELINE);
      again.wasPublished = publication.wasPublished;
      if (this.#isSeated) await this.#announce(again);
    } catch {
      this.#giveUp(this.#of(track) ?? publication, error);
    }
  }

  /** @param {Publication} publication @param {TertuliaError} error */
  #giveUp(publication, error) {
    void this.#unpublish(publication).catch(() => {});
    this.#link.emit('mediaFailed', { source: publication.track.source, error });
  }

  /** What nobody waits for. @param {Publication} publication @param {Promise<void>} act */
  #later(publication, act) {
    act.catch((error) => { if (this.#has(publication)) this.#giveUp(publication, error); });
  }

  /** The worker, once it has what it needs. @returns {Promise<Encoding>} */
  #start() {
    this.#encoding ??= this.#startEncoding();
    this.#encoding.catch(() => { this.#encoding = null; });
    return this.#encoding;
  }

  async #startEncoding() {
    const { encryptionKey } = this.#options;
    // Before anything else: nothing may leave that is not encrypted.
    const cipher = encryptionKey ? await FrameCipher.create(encryptionKey, this.#room) : null;
    const encoding = new Encoding({
      datagrams: (frame) => this.#outgoing.send(frame),
      failed: (key, reason) => void this.#failed(key, reason),
      statistics: (target, tracks) => {
        this.#statistics = { target, tracks };
        this.#outgoing.bitrate = target;
      },
      crashed: () => this.#crashed(),
    });
    if (cipher) encoding.tell({ type: 'encrypt', frameKey: cipher.key });
    encoding.tell({ type: 'carrier', carrier: this.#link.carrier() });
    encoding.tell({ type: 'pause', isPaused: !this.#isSeated });
    return encoding;
  }

  #crashed() {
    this.#encoding = null;
    const error = new TertuliaError('codec_failed', 'The browser stopped encoding. Turn camera and microphone on again, or reload the page.');
    for (const publication of [...this.#publications.values()]) this.#giveUp(publication, error);
  }

  #stopEncoding() {
    void this.#encoding?.then((encoding) => encoding.stop(), () => {});
    this.#encoding = null;
    this.#statistics = { target: 0, tracks: [] };
  }

  /** @param {import('./encoding.js').ToWorker} message */
  #tell(message) {
    void this.#encoding?.then((encoding) => encoding.tell(message), () => {});
  }

  /** @param {Publication} publication @param {LayersWanted} wanted */
  #tellLayers({ key }, { spatialLayers, temporalLayer }) {
    this.#tell({ type: 'layers', key, spatialLayers, temporalLayer });
  }

  /** @param {Request} request */
  #ask(request) {
    return this.#link.ask(request);
  }

  /** @param {LocalTrack} track */
  #of(track) {
    const publication = this.#publications.get(track.source);
    return publication?.track === track ? publication : undefined;
  }

  /** @param {number} id */
  #byId(id) {
    return [...this.#publications.values()].find((publication) => publication.id === id);
  }

  /** @param {Publication} publication */
  #has(publication) {
    return this.#publications.get(publication.track.source) === publication;
  }
}

/** @param {LocalTrack} track @param {import('./codec.js').VideoCodecChoice} choice @param {Encoding} encoding */
async function prepareVideo(track, choice, encoding) {
  const { renditions, ...wish } = videoWish(track, choice);
  const { config, temporalLayers } = await encoding.prepare(wish);
  if (!config) throw new TertuliaError('codec_unsupported', 'This browser cannot encode video. Use a current Chrome, Edge or Firefox.');
  const { width, height, frameRate, isScreen } = wish;
  const plan = { config, width, height, frameRate, renditions, isScreen };
  return { plan, info: videoInfo(track, plan, temporalLayers) };
}

/** The session ended meanwhile: the next one makes up for it. @param {unknown} error */
function isInterruption(error) {
  return error instanceof TertuliaError && (error.code === 'not_connected' || error.code === 'connection_lost');
}

/** @param {MediaDeviceKind} kind @returns {'camera' | 'microphone'} */
function sourceOf(kind) {
  if (kind === 'videoinput') return 'camera';
  if (kind === 'audioinput') return 'microphone';
  throw new TertuliaError('device_kind', `There is no device of the kind "${kind}" here. Use "videoinput" or "audioinput".`);
}

/** What a participant publishes, over all its sessions: tracks, their encoders, and what the relay was told of them. */
import { TertuliaError } from '../../error.js';
import { Announcements } from './announcements.js';
import { BASELINE } from './codec.js';
import { deviceLost, sourceOf, watchDevices } from './devices.js';
import { Engine } from './engine.js';
import { LocalTrack, createLocalTrack, createScreenTracks, makeLocalTrack } from './local-track.js';
import { Publication, describe } from './publication.js';
import { decodeRepeatRequest } from '../../wire/repeat.js';

/** @typedef {import('./devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./devices.js').TrackSource} TrackSource */
/** @typedef {import('../../wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('../../requests.js').Request} Request */
/** @typedef {import('../../requests.js').Answer} Answer */

/**
 * What the engine gets of the room.
 * @typedef {object} Link
 * @property {(request: Request) => Promise<Answer>} ask rejects with `not_connected` or `connection_lost` while there is no session
 * @property {(datagrams: Uint8Array<ArrayBuffer>[], options: import('./outgoing.js').Sending) => void} sendDatagrams of one frame, zero bytes included
 * @property {() => number} bufferedBytes that wait in the carrier
 * @property {() => number} datagramsLeftOut of this session, because the browser did not take them in time
 * @property {(type: any, value: any) => void} emit
 * @property {() => import('../../carrier.js').Carrier | null} carrier
 */
/**
 * @typedef {object} PublishingEvents
 * @property {{ track: LocalTrack }} localTrackPublished
 * @property {{ track: LocalTrack }} localTrackUnpublished
 * @property {{ track: LocalTrack, muted: boolean, byAdmin: boolean }} localTrackMuted
 * @property {{ source: TrackSource | 'speaker', error: TertuliaError, participant?: import('../../participants.js').RemoteParticipant, track?: import('../receive/remote-track.js').RemoteTrack }} mediaFailed with a participant: what comes from there cannot be played; without: what one sends oneself
 * @property {undefined} devicesChanged
 */
/** @typedef {{ width?: number, height?: number, frameRate?: number, codec?: import('./codec.js').VideoCodecChoice }} VideoOptions of the camera, unless said otherwise when it is turned on */
/** @typedef {{ video?: VideoOptions, encryptionKey?: string }} PublishingOptions */
/** @typedef {{ track: number, spatialLayers: number, temporalLayer: number }} LayersWanted */
/** @typedef {{ track: number, best: import('./rate.js').Report, worst: import('./rate.js').Report }} Feedback */

export class Publishing {
  #link;
  #options;
  #engine;
  #announcements;
  /** @type {Map<TrackSource, Publication>} */
  #publications = new Map();
  /** What a source is doing, so that it does one thing after the other. @type {Map<TrackSource, Promise<unknown>>} */
  #turns = new Map();
  /** Devices that were chosen while they were off. @type {Map<TrackSource, string>} */
  #chosen = new Map();
  #keys = 0;
  /** Ends what is being opened when the room is left. */
  #leaving = new AbortController();
  /** @type {(() => void) | null} */
  #unwatch = null;

  /** @param {Link} link @param {PublishingOptions} options */
  constructor(link, options) {
    this.#link = link;
    this.#options = options;
    this.#announcements = new Announcements(link);
    this.#engine = new Engine({
      link, encryptionKey: options.encryptionKey,
      failed: (key, reason) => void this.#failed(key, reason),
      crashed: () => this.#crashed(),
      counted: (tracks) => this.#counted(tracks),
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
    return this.#inTurn(source, (leaving) => (isOn ? this.#enable(source, options, leaving) : this.#disable(source)));
  }

  /** Begins or ends to share a screen, with its sound if the person allows it. @param {boolean} isOn @param {CaptureOptions} [options] @returns {Promise<LocalTrack | null>} */
  setScreenShareEnabled(isOn, options = {}) {
    return this.#inTurn('screen', async (leaving) => {
      const shared = this.#publications.get('screen')?.track ?? null;
      if (isOn && shared) return shared;
      if (isOn) return this.#shareScreen(options, leaving);
      await this.#unpublish(this.#publications.get('screen'));
      await this.#unpublish(this.#publications.get('screenAudio'));
      return null;
    });
  }

  /** @param {MediaStreamTrack | LocalTrack} media @param {{ source?: TrackSource } & CaptureOptions} [options] @returns {Promise<LocalTrack>} */
  async publishTrack(media, { source, ...options } = {}) {
    // What is made here is captured from then on: not before it can be published.
    if (!(media instanceof LocalTrack)) this.#assertFree(source ?? 'other');
    const track = media instanceof LocalTrack ? media : await makeLocalTrack(source ?? 'other', media, options);
    return this.#inTurn(track.source, async (leaving) => {
      this.#assertFree(track.source);
      if (track.isStopped) {
        track.stop();
        throw deviceLost(track.source);
      }
      return this.#publish(track, leaving);
    });
  }

  /** @param {TrackSource} source */
  #assertFree(source) {
    if (!this.#publications.has(source)) return;
    throw new TertuliaError('source_taken', `There is a ${source} already. Unpublish it first, or publish this as another source.`);
  }

  /** Also lets its device go. @param {LocalTrack} track */
  unpublishTrack(track) {
    return this.#inTurn(track.source, () => this.#unpublish(this.#of(track)));
  }

  /** Sends nothing, and says so; the device goes on. @param {LocalTrack} track @param {boolean} muted */
  setMuted(track, muted) {
    return this.#inTurn(track.source, async () => {
      const publication = this.#of(track);
      if (publication && !muted && track.isStopped) await reopen(publication);
      if (publication) await this.#mute(publication, muted);
    });
  }

  /** Takes another camera or microphone, now or when it is turned on. @param {MediaDeviceKind} kind @param {string} deviceId */
  switchActiveDevice(kind, deviceId) {
    const source = sourceOf(kind);
    return this.#inTurn(source, async () => {
      const publication = this.#publications.get(source);
      if (publication && !publication.track.isStopped) await reopen(publication, deviceId);
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
    this.#engine.begin(room);
    this.#announcements.begin();
    this.#unwatch ??= watchDevices(() => this.#link.emit('devicesChanged', undefined));
    const known = new Set(resumed ? tracks : []);
    for (const publication of this.#publications.values()) {
      const mine = [...known].find(({ track, info: { source } }) => track === publication.id || (publication.id === 0 && source === publication.track.source));
      if (mine) known.delete(mine);
      // Another track may have its number by now.
      else if (publication.id !== 0) publication.published(0);
      this.#later(publication, mine ? this.#resume(publication, mine) : this.#announcements.announce(publication));
    }
    for (const { track } of known) this.#announcements.withdraw(track).catch(() => {});
  }

  /** There is no session at the moment. */
  interrupted() {
    this.#announcements.end();
    this.#engine.pause();
  }

  /** It is over: every device is let go. */
  closed() {
    this.#announcements.end();
    this.#unwatch?.();
    this.#unwatch = null;
    this.#leaving.abort();
    this.#leaving = new AbortController();
    for (const publication of [...this.#publications.values()]) this.#end(publication);
    this.#engine.pause();
    this.#engine.stop();
  }

  /** @param {number} track @param {number} layer */
  keyframeRequested(track, layer) {
    this.#byId(track)?.requestKeyframe(layer);
  }

  /** @param {LayersWanted} wanted */
  layersWanted(wanted) {
    this.#announcements.layersWanted(this.#byId(wanted.track), wanted);
  }

  /** @param {Feedback} feedback */
  feedback(feedback) {
    this.#byId(feedback.track)?.feedback(feedback);
  }

  /** The relay did not get something that was sent lately. @param {Uint8Array} bytes what stands behind the zero byte */
  repeat(bytes) {
    try {
      this.#engine.repeat(decodeRepeatRequest(bytes));
    } catch {
      // What is no request asks for nothing.
    }
  }

  /** An admin muted it; only the person can end that. @param {number} track @param {boolean} muted */
  mutedByAdmin(track, muted) {
    const publication = this.#byId(track);
    if (publication && muted && !publication.track.muted) this.#muteByAdmin(publication);
  }

  /** Of the last second: `targetBitrate` in bits per second, `tracks` with what was sent and how it was encoded. */
  stats() {
    const { target, tracks } = this.#engine.statistics;
    const publications = new Map(Array.from(this.#publications.values(), (publication) => [publication.key, publication]));
    return {
      targetBitrate: target,
      tracks: tracks.flatMap(({ key, bits, frames, framesSent, renditions, counts = {} }) => {
        const publication = publications.get(key);
        if (!publication) return [];
        const { track, info: { codec } } = publication;
        const framesLeftOut = this.#engine.leftOut(key);
        return [{ track: track.id, source: track.source, kind: track.kind, codec, bitrate: bits, frameRate: frames, framesSent, framesLeftOut, renditions, ...counts }];
      }),
    };
  }

  /** @template T @param {TrackSource} source @param {(leaving: AbortSignal) => Promise<T>} act `leaving`: ends what was asked for before the room was left @returns {Promise<T>} */
  #inTurn(source, act) {
    const { signal } = this.#leaving;
    const turn = (this.#turns.get(source) ?? Promise.resolve()).then(() => act(signal));
    this.#turns.set(source, turn.catch(() => {}));
    return turn;
  }

  /** @param {'camera' | 'microphone'} source @param {CaptureOptions} options @param {AbortSignal} leaving @returns {Promise<LocalTrack>} */
  async #enable(source, options, leaving) {
    if (leaving.aborted) throw left();
    const publication = this.#publications.get(source);
    const deviceId = this.#chosen.get(source);
    if (!publication) {
      const defaults = source === 'camera' ? this.#options.video : {};
      return this.#publish(await createLocalTrack({ source, ...defaults, ...(deviceId ? { deviceId } : {}), ...options }), leaving);
    }
    if (publication.track.isStopped) await reopen(publication, deviceId !== publication.track.options.deviceId ? deviceId : undefined);
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

  /** @param {CaptureOptions} options @param {AbortSignal} leaving @returns {Promise<LocalTrack>} */
  async #shareScreen(options, leaving) {
    if (leaving.aborted) throw left();
    const [picture, sound] = await createScreenTracks(options);
    await this.#unpublish(this.#publications.get('screenAudio'));
    try {
      await this.#publish(picture, leaving);
    } catch (error) {
      sound?.stop();
      throw error;
    }
    // The picture is worth sharing without it.
    if (sound) await this.#publish(sound, leaving).catch((error) => this.#link.emit('mediaFailed', { source: 'screenAudio', error }));
    return picture;
  }

  /** @param {LocalTrack} track @param {AbortSignal} leaving as it was when this began @returns {Promise<LocalTrack>} */
  async #publish(track, leaving) {
    try {
      await this.#announcements.announce(await this.#prepare(track, this.#options.video?.codec ?? BASELINE, leaving));
      return track;
    } catch (error) {
      const publication = this.#of(track);
      if (publication) this.#end(publication);
      track.stop();
      throw error;
    }
  }

  /** Gives a track its encoder. @param {LocalTrack} track @param {import('./codec.js').VideoCodecChoice} choice @param {AbortSignal} leaving as it was when this began */
  async #prepare(track, choice, leaving) {
    if (leaving.aborted) throw left();
    const encoding = await this.#engine.start();
    const announced = await describe(track, choice, encoding);
    if (leaving.aborted) throw left();
    const publication = new Publication(++this.#keys, track, encoding, announced, (changed) => this.#hiddenChanged(changed));
    this.#publications.set(track.source, publication);
    track.changed = () => publication.feed();
    track.ended = () => void this.#lost(publication);
    publication.applyMute();
    return publication;
  }

  /** The relay still knows the track. @param {Publication} publication @param {PublishedTrack} known */
  async #resume(publication, known) {
    // Only an admin can have muted it meanwhile.
    if (known.muted && !publication.isMuted && !publication.isAnnouncedMuted) this.#muteByAdmin(publication);
    await this.#announcements.resume(publication, known);
  }

  /** @param {Publication | undefined} publication */
  async #unpublish(publication) {
    if (!publication || !this.#has(publication)) return;
    const { id } = publication;
    this.#end(publication);
    await this.#announcements.withdraw(id);
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
    await this.#announcements.tellMuted(publication);
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

  /** The page is not looked at, or is again. @param {Publication} publication */
  #hiddenChanged(publication) {
    publication.applyMute();
    if (this.#has(publication)) this.#later(publication, this.#announcements.tellMuted(publication));
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
    const error = encodingFailed(reason);
    if (track.kind === 'audio' || codec === BASELINE || track.isStopped) return this.#giveUp(publication, error);
    publication.end();
    this.#announcements.withdraw(id).catch(() => {});
    try {
      const again = await this.#prepare(track, BASELINE, this.#leaving.signal);
      again.wasPublished = publication.wasPublished;
      await this.#announcements.announce(again);
    } catch {
      this.#giveUp(this.#of(track) ?? publication, error);
    }
  }

  /** A screen's sound ends with its picture. @param {Publication} publication @param {TertuliaError} error */
  #giveUp(publication, error) {
    const sound = publication.track.source === 'screen' ? this.#publications.get('screenAudio') : undefined;
    for (const ended of [publication, sound]) void this.#unpublish(ended).catch(() => {});
    this.#link.emit('mediaFailed', { source: publication.track.source, error });
  }

  /** What nobody waits for. @param {Publication} publication @param {Promise<void>} act */
  #later(publication, act) {
    act.catch((error) => { if (this.#has(publication)) this.#giveUp(publication, error); });
  }

  /** A camera that hangs is opened again, and if it does not help, left as it is. @param {import('./encoding.js').EncodingStatistics[]} tracks */
  #counted(tracks) {
    for (const publication of this.#publications.values()) {
      const captured = tracks.find(({ key }) => key === publication.key)?.counts?.captured;
      if (captured !== undefined && publication.hangs(captured)) this.#later(publication, this.#openAgain(publication));
    }
  }

  /** @param {Publication} publication */
  #openAgain(publication) {
    return this.#inTurn(publication.track.source, async () => {
      // It may have been switched off before its turn.
      if (!this.#has(publication) || !publication.isExpected) return;
      // If it cannot be opened, the one that is there goes on, and may still begin.
      await reopen(publication).catch(() => {});
    });
  }

  #crashed() {
    const error = encodingFailed();
    for (const publication of [...this.#publications.values()]) this.#giveUp(publication, error);
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

/** @param {Publication} publication @param {string} [deviceId] this one or none */
async function reopen(publication, deviceId) {
  await publication.track.reopen(deviceId);
  if (!publication.isOver) return;
  publication.track.stop();
  throw left();
}

function left() {
  return new TertuliaError('left', 'You left the room meanwhile. Join again, and turn it on there.');
}

/** @param {string} [cause] */
function encodingFailed(cause) {
  return new TertuliaError('codec_failed', 'The browser stopped encoding. Turn camera and microphone on again, or reload the page.', { cause });
}
